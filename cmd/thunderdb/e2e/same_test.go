package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// answer is one of a batch's.
type answer struct {
	Op     string `json:"op"`
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Status int    `json:"status,omitempty"`
	Error  string `json:"error,omitempty"`
}

// getAll reads keys by one batch, again where some cannot be read at once.
func getAll(t *testing.T, n *node, keys []string) (got []answer) {
	t.Helper()
	ops := make([]answer, len(keys))
	for i, key := range keys {
		ops[i] = answer{Op: "get", Key: key}
	}
	body, err := json.Marshal(ops)
	if err != nil {
		t.Fatal(err)
	}
	await(t, 20*time.Second, func() error {
		r := send(http.MethodPost, n.url("/v1/batch"), string(body))
		got = nil
		if err := json.Unmarshal([]byte(r.body), &got); err != nil || len(got) != len(ops) {
			return fmt.Errorf("batch through %s: %d %s", n.name, r.status, shortened(r.body))
		}
		for _, one := range got {
			if one.Status/100 == 5 {
				return fmt.Errorf("through %s: %+v", n.name, one)
			}
		}
		return nil
	})
	return got
}

// same waits until each key that any of the nodes holds is held, alike, by
// three of them, or by all where there are fewer. It returns how long that
// took.
func same(t *testing.T, nodes ...*node) time.Duration {
	t.Helper()
	began := time.Now()
	// Comparisons in the background come about once a minute.
	await(t, 90*time.Second, func() error {
		type place struct {
			value string
			held  []string
		}
		keys := map[string]*place{}
		for _, n := range nodes {
			r := send(http.MethodGet, n.url("/snapshot"), "")
			var held map[string]json.RawMessage
			if err := json.Unmarshal([]byte(r.body), &held); err != nil {
				return fmt.Errorf("snapshot of %s: %d %w", n.name, r.status, err)
			}
			for key, raw := range held {
				p := keys[key]
				if p == nil {
					p = &place{value: string(raw)}
					keys[key] = p
				}
				if p.value != string(raw) {
					return fmt.Errorf("%s is %s on %s, and %s on %v", key, raw, n.name, p.value, p.held)
				}
				p.held = append(p.held, n.name)
			}
		}
		few, example := 0, ""
		for key, p := range keys {
			if len(p.held) != min(3, len(nodes)) {
				few++
				example = fmt.Sprintf("%s is on %v", key, p.held)
			}
		}
		if few > 0 {
			return fmt.Errorf("%d of %d keys are not on as many nodes as they should be: %s", few, len(keys), example)
		}
		return nil
	})
	took := time.Since(began)
	t.Logf("all replicas are the same after %v", took)
	return took
}

// balanced checks that partitions are spread evenly.
func balanced(t *testing.T, n *node) {
	t.Helper()
	st, err := n.status()
	if err != nil {
		t.Fatal(err)
	}
	most, total := 0, 0
	var counts []string
	for _, m := range st.Members {
		most, total = max(most, m.Partitions), total+m.Partitions
		counts = append(counts, fmt.Sprintf("%s %d", m.Name, m.Partitions))
	}
	if spread := float64(most) * float64(len(st.Members)) / float64(total); spread > 1.25 {
		t.Errorf("partitions are owned by %s: max over mean is %.2f", strings.Join(counts, ", "), spread)
	}
}
