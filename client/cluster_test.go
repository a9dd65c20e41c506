package client_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/thunderdb/thunderdb/client"
)

// Leave and Forget ask for what they say, and their errors are the node's.
func TestLeaveAndForget(t *testing.T) {
	t.Parallel()
	var asked, code string
	addr := fakeNode(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.RequestURI
		w.Header().Set("ThunderDB-Node", "n1")
		if code != "" {
			refuse(w, code, "")
			return
		}
		w.WriteHeader(http.StatusAccepted)
	})
	c := newClient(t, client.Options{Tries: 1}, addr)
	leave := func(ctx context.Context) error {
		node, err := c.Leave(ctx)
		if err == nil && node != "n1" {
			t.Errorf("%q leaves", node)
		}
		return err
	}
	forget := func(name string, force bool) func(context.Context) error {
		return func(ctx context.Context) error { return c.Forget(ctx, name, force) }
	}
	for _, test := range []struct {
		do    func(context.Context) error
		code  string
		asked string
		want  error
	}{
		{leave, "", "POST /v1/cluster/leave", nil},
		{leave, "last_member", "POST /v1/cluster/leave", client.ErrLastMember},
		{leave, "busy", "POST /v1/cluster/leave", client.ErrBusy},
		{forget("a/b", false), "", "POST /v1/cluster/forget/a%2Fb", nil},
		{forget("n2", true), "", "POST /v1/cluster/forget/n2?force=true", nil},
		{forget("n2", false), "member_up", "POST /v1/cluster/forget/n2", client.ErrMemberUp},
		{forget("n2", false), "no_member", "POST /v1/cluster/forget/n2", client.ErrNoMember},
		{forget("n2", false), "too_few", "POST /v1/cluster/forget/n2", client.ErrTooFew},
	} {
		code = test.code
		if err := test.do(t.Context()); asked != test.asked || !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %s and %v", asked, err, test.asked, test.want)
		}
	}
	two := newClient(t, client.Options{}, addr, addr)
	if _, err := two.Leave(t.Context()); err == nil || !strings.Contains(err.Error(), "2 addresses") {
		t.Errorf("one of two nodes leaves: %v", err)
	}
}

// The consistency of a request stands in it, also where it is one of many
// operations.
func TestConsistency(t *testing.T) {
	t.Parallel()
	var level, query string
	c := newClient(t, client.Options{Tries: 1}, fakeNode(t, func(w http.ResponseWriter, r *http.Request) {
		level, query = r.Header.Get("ThunderDB-Consistency"), r.URL.RawQuery
		refuse(w, "bad_request", "")
	}))
	for name, do := range map[string]func(...client.Option) error{
		"get":    func(o ...client.Option) error { _, err := c.Get(t.Context(), "k", o...); return err },
		"head":   func(o ...client.Option) error { _, err := c.Head(t.Context(), "k", o...); return err },
		"put":    func(o ...client.Option) error { _, err := c.Put(t.Context(), "k", nil, o...); return err },
		"delete": func(o ...client.Option) error { return c.Delete(t.Context(), "k", o...) },
		"batch": func(o ...client.Option) error {
			_, err := c.Batch(t.Context(), []client.BatchOp{client.GetOp("k")}, o...)
			return err
		},
		"import": func(o ...client.Option) error {
			_, err := c.Import(t.Context(), client.Text, strings.NewReader("a 1\n"), nil, o...)
			return err
		},
	} {
		err := do(client.WithConsistency(client.All), client.ReadReplicas(1), client.WriteReplicas(3))
		if level != "all" || query != "r=1&w=3" || !errors.Is(err, client.ErrBadRequest) {
			t.Errorf("%s: %q and %q, %v", name, level, query, err)
		}
		if _ = do(); level != "" || query != "" {
			t.Errorf("%s: %q and %q unasked", name, level, query)
		}
	}
}

func TestMember(t *testing.T) {
	t.Parallel()
	c := client.Cluster{Members: []client.Member{{Name: "a"}, {Name: "b", Status: "down"}}}
	if m := c.Member("b"); m == nil || m.Status != "down" || c.Member("c") != nil {
		t.Errorf("b is %+v, c is %+v", m, c.Member("c"))
	}
}
