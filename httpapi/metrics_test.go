package httpapi

import (
	"strings"
	"testing"
)

// Requests are counted by route, method and code; no client makes up labels.
func TestMetrics(t *testing.T) {
	t.Parallel()
	s := newFake(t).serve(t, Config{Software: "v1"})
	ask(s, "PUT", "/v1/kv/secret", "v")
	ask(s, "GET", "/v1/kv/secret", "")
	ask(s, "GET", "/v1/kv/none", "")
	ask(s, "GET", "/get/secret", "")
	ask(s, "BREW", "/v1/kv/secret", "")
	ask(s, "GET", "/made/up", "")
	got := ask(s, "GET", "/metrics", "").Body.String()
	for _, line := range []string{
		`thunderdb_http_requests_total{code="201",method="PUT",route="/v1/kv/{key}"} 1`,
		`thunderdb_http_requests_total{code="200",method="GET",route="/v1/kv/{key}"} 1`,
		`thunderdb_http_requests_total{code="404",method="GET",route="/v1/kv/{key}"} 1`,
		`thunderdb_http_requests_total{code="405",method="other",route="/v1/kv/{key}"} 1`,
		`thunderdb_http_requests_total{code="200",method="GET",route="/get/{key}"} 1`,
		`thunderdb_http_requests_total{code="404",method="GET",route="none"} 1`,
		`thunderdb_http_request_duration_seconds_count{method="GET",route="/v1/kv/{key}"} 2`,
		`thunderdb_http_requests_in_flight 1`, `thunderdb_build_info{version="v1"} 1`,
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	for _, secret := range []string{"secret", "BREW", "made"} {
		if strings.Contains(got, secret) {
			t.Errorf("the metrics tell %q", secret)
		}
	}
}

// No value of a header can begin another.
func TestHeaderLines(t *testing.T) {
	t.Parallel()
	if got := string(appendLine(nil, "A", "b\r\nC: d\x7f\té")); got != "A: b  C: d  é\r\n" {
		t.Errorf("%q", got)
	}
}
