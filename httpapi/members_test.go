package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/thunderdb/thunderdb/node"
)

func TestLeave(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.serve(t, Config{})
	for _, test := range []struct {
		err    error
		status int
		code   string
	}{
		{nil, http.StatusAccepted, ""},
		{node.ErrLastMember, http.StatusConflict, "last_member"},
		{node.ErrTooFew, http.StatusConflict, "too_few"},
		{node.ErrBusy, http.StatusConflict, "busy"},
		{node.ErrNotReady, http.StatusServiceUnavailable, "unavailable"},
	} {
		f.leave = func() error { return test.err }
		w := ask(s, "POST", "/v1/cluster/leave", "")
		if w.Code != test.status || test.code == "" && w.Body.Len() > 0 ||
			!strings.Contains(w.Body.String(), test.code) || header(w, headerNode) != "n1" {
			t.Errorf("%v: %d %s", test.err, w.Code, w.Body)
		}
		if strings.Contains(w.Body.String(), "force") {
			t.Errorf("leaving is not forced: %s", w.Body)
		}
	}
}

func TestForget(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.serve(t, Config{})
	for _, test := range []struct {
		target string
		err    error
		status int
		asked  string // of the node, "" nothing
		want   string // in the body
	}{
		{"n2", nil, 204, "n2 false", ""},
		{"a%2Fb?force=true", nil, 204, "a/b true", ""},
		{"n2?force=false", nil, 204, "n2 false", ""},
		{"n2?force=", nil, 400, "", `force=\"\": want true or false`},
		{"n2?force=yes", nil, 400, "", `force=\"yes\": want true or false`},
		{"", nil, 400, "", "no member is named"},
		{"n2", fmt.Errorf("%w: n2", node.ErrMemberUp), 409, "n2 false", `"title":"the member is up","status":409,"detail":"n2"`},
		{"n2", fmt.Errorf("ask n1: %w", node.ErrMemberUp), 409, "n2 false", `"title":"the member is up","status":409,"detail":"ask n1",`},
		{"n9", node.ErrNoMember, 404, "n9 false", `"code":"no_member"`},
		{"n2", node.ErrTooFew, 409, "n2 false", "force=true (thunderdb forget --force)"},
		{"n2?force=true", node.ErrTooFew, 409, "n2 true", `"code":"too_few"`},
		{"n1", node.ErrLastMember, 409, "n1 false", `"code":"last_member"`},
	} {
		asked := ""
		f.forget = func(name string, force bool) error {
			asked = fmt.Sprint(name, " ", force)
			return test.err
		}
		w := ask(s, "POST", "/v1/cluster/forget/"+test.target, "")
		if w.Code != test.status || asked != test.asked || !strings.Contains(w.Body.String(), test.want) {
			t.Errorf("%s with %v: %d, asked for %q, %s", test.target, test.err, w.Code, asked, w.Body)
		}
	}
}
