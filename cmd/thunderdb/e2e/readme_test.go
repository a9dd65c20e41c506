package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// What the README says is typed at a terminal prints what it says it prints,
// against the cluster that it says to start. In its output … stands for
// anything.
func TestTheReadmesTour(t *testing.T) {
	t.Parallel()
	need(t, "bash", "curl")
	ip := fmt.Sprintf("127.%d.%d.1", 1+rand.IntN(254), rand.IntN(256))
	demo := newNode(t, "demo", ip)
	demo.args = []string{"demo", "--http", ip + ":8080"}
	demo.start()
	await(t, 30*time.Second, func() error {
		text, err := os.ReadFile(demo.log)
		if err == nil && !strings.Contains(string(text), "3 nodes are up") {
			err = fmt.Errorf("the demo printed %q", text)
		}
		return err
	})
	await(t, time.Minute, func() error {
		st, err := demo.status()
		if err == nil && (!st.Settled || st.LastRepair == nil) {
			err = fmt.Errorf("the demo is in %+v", st)
		}
		return err
	})
	text, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	steps := tour(string(text))
	if len(steps) < 8 {
		t.Fatalf("the README has %d commands", len(steps))
	}
	for _, step := range steps {
		line := strings.ReplaceAll(step.command, "127.0.0.1", ip)
		line = strings.ReplaceAll(line, "go run ./cmd/thunderdb", "thunderdb")
		run := func() error {
			shell := exec.CommandContext(t.Context(), "bash", "-c", line)
			shell.Env = append(os.Environ(),
				"THUNDERDB_ADDR="+demo.base, "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
			out, err := shell.Output()
			got := plain(strings.ReplaceAll(string(out), ip, "127.0.0.1"))
			if err != nil || !step.want.MatchString(got) {
				return fmt.Errorf("$ %s\n%s\n(%w) want, by the README:\n%v", step.command, got, err, step.want)
			}
			return nil
		}
		if strings.HasSuffix(line, "status") { // what it counts is up to 2 s old
			await(t, 10*time.Second, run)
		} else if err := run(); err != nil {
			t.Error(err)
		}
	}
}

// step is a command and what it prints.
type step struct {
	command string
	want    *regexp.Regexp
}

// tour returns the steps of a document's console blocks.
func tour(text string) []step {
	var steps []step
	for _, block := range strings.Split(text, "```console\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		for _, one := range strings.Split("\n"+block, "\n$ ")[1:] {
			command, output, _ := strings.Cut(one, "\n")
			pattern := strings.ReplaceAll(regexp.QuoteMeta(plain(output)), "…", ".*")
			steps = append(steps, step{command, regexp.MustCompile("^" + pattern + "$")})
		}
	}
	return steps
}

// spaces are what separates columns, whose width depends on what they hold.
var spaces = regexp.MustCompile(`[ \r]+`)

// plain returns a text without what tells nothing.
func plain(text string) string {
	return strings.TrimSpace(strings.ReplaceAll(spaces.ReplaceAllString(text, " "), " \n", "\n"))
}
