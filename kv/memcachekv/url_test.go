package memcachekv

import (
	"context"
	"slices"
	"strings"
	"testing"
)

func TestURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string][]string{
		"memcached://cache:11211":              {"cache:11211"},
		"memcached://b:1,a:65535,[::1]:2":      {"b:1", "a:65535", "[::1]:2"},
		"memcached://10.0.0.1:1,10.0.0.1:2":    {"10.0.0.1:1", "10.0.0.1:2"},
		"memcached://cache_1.example.org:1121": {"cache_1.example.org:1121"},
	} {
		got, err := parseURL(url)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s lists %q, %v, want %q", url, got, err, want)
		}
		if err := Check(url); err != nil {
			t.Errorf("Check(%s): %v", url, err)
		}
	}
}

func TestMalformedURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"":                              "not a Memcached URL",
		"cache:11211":                   "not a Memcached URL",
		"memcache://cache:11211":        "not a Memcached URL",
		"redis://cache:11211":           "not a Memcached URL",
		"memcached:cache:11211":         "not a Memcached URL",
		"memcached://":                  "an address is missing",
		"memcached://a:1,":              "an address is missing",
		"memcached://a:1,,b:1":          "an address is missing",
		"memcached://cache":             "missing port",
		"memcached://a:1,cache":         "address cache: missing port",
		"memcached://:11211":            "no host",
		"memcached://cache:":            "no port from 1 to 65535",
		"memcached://cache:0":           "no port from 1 to 65535",
		"memcached://cache:65536":       "no port from 1 to 65535",
		"memcached://cache:http":        "no port from 1 to 65535",
		"memcached://::1:11211":         "too many colons",
		"memcached://cache:11211/":      `"/" has no meaning`,
		"memcached://cache:11211/0":     `"/" has no meaning`,
		"memcached://cache:11211?a=b":   `"?" has no meaning`,
		"memcached://user:pw@cache:1":   `"@" has no meaning`,
		"memcached://a:1, b:1":          `" " has no meaning`,
		"memcached://a:1,b:1,a:1":       "a:1 is listed twice",
		"memcached://a:1,memcached://b": `"/" has no meaning`,
	} {
		err := Check(url)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check(%q): %v, want %q", url, err, want)
		}
		if _, err := Open(context.Background(), url, Options{}); err == nil {
			t.Errorf("Open(%q) has no error", url)
		}
	}
}
