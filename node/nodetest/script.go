package nodetest

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"
)

// A script is a scenario to be read. It is blocks of commands, one a line,
// each block with what its commands print after "----"; a line that begins with
// # is a comment. With -rewrite a run writes down what was printed.
//
//	nodes n1 n2 n3
//	put n1 k v
//	kill n2
//	get n3 k
//	----
//	v
//
// A command that has nothing to say prints nothing, and a block that prints
// nothing prints ok; errors print as ErrorText. Words with an equals sign are
// options, so there is none in keys and values. Each file is a cluster, in a
// bubble of its own. The commands:
//
//	nodes NAME... [replicas=N] [repair=D] [grace=D] [forgetful]
//	                                        start a cluster of them, and settle
//	put NODE KEY VALUE [w=one|all]          through a node
//	get NODE KEY [r=one|all]                print the value
//	delete NODE KEY [w=one|all]
//	list NODE                               print all keys and values
//	load N NODE... [any]                    put N keys, and remember those acknowledged
//	unload N NODE... [any]                  delete N remembered keys
//	                                        both print how many were acknowledged: all,
//	                                        some or none; with "any", only none
//	clients start|stop [retries=N]          background load; stop prints what was wrong,
//	                                        and with retries how many failed
//	partition NAME... | NAME... [break]     cut the network between the groups
//	cut FROM TO [break]                     cut one direction
//	heal                                    end all cuts
//	delay DURATION [jitter=D] [loss=SHARE]  of the whole network
//	kill, stop, start, restart, wipe NAME   as kill -9, SIGTERM, ..., with an empty store
//	pause, resume NAME                      as SIGSTOP, SIGCONT
//	join NAME                               start, and settle
//	end NAME                                wait until it ends by itself, and print why
//	reset NAME                              empty its store, and start it
//	leave NAME
//	forget NAME through=NODE [force]
//	full, room NAME                         its store takes no more entries, or does
//	lose NAME, alter NAME                   its entries go, or become older ones, behind
//	                                        its back
//	clock NAME +DURATION|-DURATION          its wall clock jumps
//	pass DURATION                           let time pass
//	settle                                  wait until the live nodes have settled
//	converge [within=D]                     wait until all replicas hold the same
//	check SET|SAME|GONE|balance [through=NODE]
//	                                        print what does not hold, through all live
//	                                        nodes or one
//	tombstones NAME...                      print who holds some
//	status NODE                             print members, and whom a change waits for

// RunScripts runs each script that matches a pattern as a subtest.
func RunScripts(t *testing.T, pattern string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("scripts %q: none found, %v", pattern, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			Bubble(t, func(t *testing.T) {
				s := &script{t: t}
				datadriven.RunTest(t, file, func(_ *testing.T, d *datadriven.TestData) string { return s.block(d.String()) })
			})
		})
	}
}

// bubbleLimit is how long, of true time, a bubble may take.
const bubbleLimit = 8 * time.Minute

// Bubble runs a test in a bubble of its own, where time passes only while
// everybody waits. It ends the program where it takes very long: a bubble whose
// clock stands still never fails by itself.
func Bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	alarm := time.AfterFunc(bubbleLimit, func() {
		debug.SetTraceback("all")
		panic("a bubble does not end: look for who waits in sync.Mutex.Lock, for it stops the bubble's clock")
	})
	defer alarm.Stop()
	synctest.Test(t, test)
}

// script is a run of a script.
type script struct {
	t       *testing.T
	c       *Cluster // nil before "nodes"
	loaded  int      // keys that load has put
	clients *Load    // nil where none runs
	steady  bool     // nothing that they do may fail
}

// block runs the commands of a block, and returns what they print.
func (s *script) block(text string) string {
	out := ""
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		said, err := s.run(newCommand(words))
		if errors.Is(err, errUsage) {
			s.t.Fatalf("%s: %v", strings.TrimSpace(line), err)
		}
		if err != nil {
			said += ErrorText(err)
		}
		if said = strings.TrimSpace(said); said != "" {
			out += said + "\n"
		}
	}
	if out == "" {
		return "ok\n"
	}
	return out
}

// errUsage is returned for a line that is no command.
var errUsage = errors.New("not a command")

// command is one line.
type command struct {
	name    string
	args    []string
	options map[string]string // name=value
}

func newCommand(words []string) command {
	cmd := command{name: words[0], options: map[string]string{}}
	for _, word := range words[1:] {
		if name, value, ok := strings.Cut(word, "="); ok {
			cmd.options[name] = value
			continue
		}
		cmd.args = append(cmd.args, word)
	}
	return cmd
}

// takes returns errUsage unless there are so many arguments.
func (cmd *command) takes(n int) error {
	if len(cmd.args) != n {
		return fmt.Errorf("%w: %s takes %d arguments", errUsage, cmd.name, n)
	}
	return nil
}

// flag takes a word away from the end of the arguments, and reports whether it
// was there.
func (cmd *command) flag(word string) bool {
	at := slices.Index(cmd.args, word)
	if at >= 0 {
		cmd.args = slices.Delete(cmd.args, at, at+1)
	}
	return at >= 0
}
