package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/thunderdb/thunderdb"

// mayImport says which packages of this module each one may import. A package
// that is not here fails the test: give it its place.
var mayImport = map[string][]string{
	"internal/fresh":   {},
	"kv":               {},
	"kv/kvtest":        {"kv"},
	"kv/pebblekv":      {"kv"},
	"kv/rediskv":       {"kv"},
	"kv/memcachekv":    {"kv"},
	"ring":             {"kv"},
	"membership":       {},
	"node/peer":        {"internal/fresh", "kv"},
	"node/topology":    {"kv", "membership", "ring"},
	"node/quorum":      {"kv"},
	"node/handoff":     {"kv"},
	"node/antientropy": {"kv"},
	"node": {
		"kv", "membership", "node/antientropy", "node/handoff", "node/peer", "node/quorum", "node/topology", "ring",
	},
	"node/nodetest":     {"kv", "membership", "node", "node/peer", "node/topology", "ring"},
	"client":            {},
	"httpapi":           {"client", "internal/fresh", "kv", "node", "node/peer", "ring"},
	"cmd/thunderdb/e2e": {},
	"cmd/thunderdb": {
		"client", "httpapi", "kv", "kv/memcachekv", "kv/pebblekv", "kv/rediskv", "membership", "node", "node/peer",
		"ring",
	},
}

// Imports run downward only, so that each package can be understood from
// those below it.
func TestImportsRunDownward(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f",
		`{{.ImportPath}} {{join .Imports " "}}`, module+"/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		name := strings.TrimPrefix(fields[0], module+"/")
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("package %s has no place in the order of imports", name)
		}
		for _, imported := range fields[1:] {
			below, ours := strings.CutPrefix(imported, module+"/")
			if ours && !slices.Contains(allowed, below) {
				t.Errorf("%s imports %s", name, below)
			}
		}
	}
}
