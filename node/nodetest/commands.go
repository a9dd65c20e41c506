package nodetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// run runs a command of a script. What it prints comes before its error.
func (s *script) run(cmd command) (string, error) {
	if cmd.name == "nodes" {
		return "", s.nodes(cmd)
	}
	if s.c == nil {
		return "", fmt.Errorf("%w: the first one is nodes", errUsage)
	}
	for _, group := range []func(command) (string, bool, error){s.asks, s.harms, s.changes, s.checks} {
		if said, known, err := group(cmd); known {
			return said, err
		}
	}
	return "", errUsage
}

func (s *script) nodes(cmd command) error {
	if s.c != nil {
		return fmt.Errorf("%w: a second cluster", errUsage)
	}
	opts := Options{Forgetful: cmd.flag("forgetful"), Nodes: cmd.args, Log: true}
	for name, into := range map[string]*time.Duration{"repair": &opts.RepairEvery, "grace": &opts.Grace} {
		if d, ok := cmd.options[name]; ok {
			var err error
			if *into, err = time.ParseDuration(d); err != nil {
				return fmt.Errorf("%w: %s: %w", errUsage, name, err)
			}
		}
	}
	if n, ok := cmd.options["replicas"]; ok {
		var err error
		if opts.Replicas, err = strconv.Atoi(n); err != nil {
			return fmt.Errorf("%w: replicas: %w", errUsage, err)
		}
	}
	s.c = New(s.t, opts)
	return nil
}

// asks runs what clients do.
func (s *script) asks(cmd command) (said string, known bool, err error) {
	need := cmd.options["w"] + cmd.options["r"]
	arity := map[string]int{"put": 3, "get": 2, "delete": 2, "list": 1}
	if n, ok := arity[cmd.name]; ok {
		if err := cmd.takes(n); err != nil {
			return "", true, err
		}
	}
	switch cmd.name {
	case "put":
		return "", true, s.c.Put(cmd.args[0], cmd.args[1], cmd.args[2], need)
	case "get":
		said, err = s.c.Get(cmd.args[0], cmd.args[1], need)
		return said, true, err
	case "delete":
		return "", true, s.c.Delete(cmd.args[0], cmd.args[1], need)
	case "list":
		listed, err := s.c.List(cmd.args[0])
		for _, key := range slices.Sorted(maps.Keys(listed)) {
			said += key + " " + listed[key] + "\n"
		}
		return said, true, err
	case "load", "unload":
		said, err = s.load(cmd)
		return said, true, err
	case "clients":
		said, err = s.background(cmd)
		return said, true, err
	}
	return "", false, nil
}

// load puts keys, or deletes keys that were put, through nodes in turn.
func (s *script) load(cmd command) (string, error) {
	anyWillDo := cmd.flag("any")
	if len(cmd.args) < 2 {
		return "", fmt.Errorf("%w: %s takes a number and nodes", errUsage, cmd.name)
	}
	n, err := strconv.Atoi(cmd.args[0])
	if err != nil {
		return "", fmt.Errorf("%w: %w", errUsage, err)
	}
	step := s.loadOne
	if cmd.name == "unload" {
		step = s.unloadOne
	}
	acked := 0
	for i := range n {
		if step(cmd.args[1:][i%(len(cmd.args)-1)], cmd.options["w"]) {
			acked++
		}
	}
	switch {
	case acked == 0:
		return "none acknowledged", nil
	case anyWillDo:
		return "", nil
	case acked == n:
		return "all acknowledged", nil
	}
	return "some acknowledged", nil
}

// loadOne puts the next key.
func (s *script) loadOne(name, need string) bool {
	s.loaded++
	key, value := fmt.Sprintf("key%d", s.loaded), fmt.Sprintf("value%d", s.loaded)
	s.c.ledger.note(key, value, Unknown)
	if s.c.Put(name, key, value, need) != nil {
		return false
	}
	s.c.ledger.note(key, value, Present)
	return true
}

// unloadOne deletes the first key that is there.
func (s *script) unloadOne(name, need string) bool {
	present := s.c.ledger.Keys(Present)
	if len(present) == 0 {
		return false
	}
	key := present[0]
	_, value := s.c.ledger.Fate(key)
	s.c.ledger.note(key, value, Unknown)
	if s.c.Delete(name, key, need) != nil {
		return false
	}
	s.c.ledger.note(key, value, Absent)
	return true
}

// background starts clients, or stops them and says what they saw.
func (s *script) background(cmd command) (string, error) {
	switch {
	case len(cmd.args) == 1 && cmd.args[0] == "start" && s.clients == nil:
		opts := LoadOptions{Every: 60 * time.Millisecond}
		if n, ok := cmd.options["retries"]; ok {
			var err error
			if opts.Retries, err = strconv.Atoi(n); err != nil {
				return "", fmt.Errorf("%w: retries: %w", errUsage, err)
			}
		}
		s.steady = opts.Retries > 0
		s.clients = s.c.Load(opts)
		return "", nil
	case len(cmd.args) == 1 && cmd.args[0] == "stop" && s.clients != nil:
		report := s.clients.Stop()
		s.clients = nil
		s.t.Logf("clients: %d put, %d deleted, %d read, %d failed, outages %v",
			report.Put, report.Deleted, report.Read, report.Failed, report.Outage)
		said := ""
		for _, wrong := range report.Wrong {
			said += wrong.Error() + "\n"
		}
		if report.Put == 0 {
			said += "nothing was acknowledged\n"
		}
		if s.steady && report.Failed > 0 {
			said += fmt.Sprintf("%d failed: %v\n", report.Failed, report.Faults)
		}
		return said, nil
	}
	return "", fmt.Errorf("%w: clients start, then clients stop", errUsage)
}

// harms runs what goes wrong: with the network, clocks and stores.
func (s *script) harms(cmd command) (said string, known bool, err error) {
	kind := Stall
	switch cmd.name {
	case "partition":
		if cmd.flag("break") {
			kind = Break
		}
		var groups [][]string
		for group := range strings.SplitSeq(strings.Join(cmd.args, " "), "|") {
			groups = append(groups, strings.Fields(group))
		}
		s.c.Network().Partition(kind, groups...)
	case "cut":
		if cmd.flag("break") {
			kind = Break
		}
		if err = cmd.takes(2); err == nil {
			s.c.Network().Cut(cmd.args[0], cmd.args[1], kind)
		}
	case "heal":
		s.c.Heal()
	case "delay":
		err = s.delay(cmd)
	case "clock", "full", "room", "pass", "lose", "alter":
		err = s.machine(cmd)
	default:
		return "", false, nil
	}
	return "", true, err
}

func (s *script) delay(cmd command) error {
	if err := cmd.takes(1); err != nil {
		return err
	}
	var t Transit
	var err error
	if t.Delay, err = time.ParseDuration(cmd.args[0]); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if text, ok := cmd.options["jitter"]; ok {
		if t.Jitter, err = time.ParseDuration(text); err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
	}
	if text, ok := cmd.options["loss"]; ok {
		if t.Loss, err = strconv.ParseFloat(text, 64); err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
	}
	s.c.Network().TransitAll(t)
	return nil
}

// machine runs what happens to one machine, or to time.
func (s *script) machine(cmd command) error {
	arity, at := 1, 0
	if cmd.name == "clock" {
		arity, at = 2, 1
	}
	if err := cmd.takes(arity); err != nil {
		return err
	}
	switch cmd.name {
	case "full":
		s.c.FailStore(cmd.args[0], kv.ErrFull)
		return nil
	case "room":
		s.c.FailStore(cmd.args[0], nil)
		return nil
	case "lose":
		s.c.Lose(cmd.args[0])
		return nil
	case "alter":
		s.c.Alter(cmd.args[0])
		return nil
	}
	d, err := time.ParseDuration(cmd.args[at])
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errUsage, err)
	case cmd.name == "clock":
		s.c.Clock(cmd.args[0]).Jump(d)
	default:
		s.c.Pass(d)
	}
	return nil
}

// changes runs what starts, ends and moves nodes.
func (s *script) changes(cmd command) (said string, known bool, err error) {
	do := map[string]func(name string){
		"kill": s.c.Kill, "stop": s.c.Stop, "pause": s.c.Pause, "resume": s.c.Resume,
		"start":   func(name string) { s.c.Start(name) },
		"restart": func(name string) { s.c.Restart(name) },
		"wipe":    func(name string) { s.c.Wipe(name) },
		"join":    func(name string) { s.c.Join(name) },
		"reset":   func(name string) { s.c.Reset(name) },
	}[cmd.name]
	ctx, cancel := context.WithTimeout(s.t.Context(), s.c.opts.Patience)
	defer cancel()
	force := cmd.flag("force")
	switch {
	case do == nil && cmd.name != "leave" && cmd.name != "forget":
		return "", false, nil
	case cmd.takes(1) != nil:
		return "", true, cmd.takes(1)
	case cmd.name == "leave":
		return "", true, s.c.Leave(ctx, cmd.args[0])
	case cmd.name == "forget":
		through, ok := cmd.options["through"]
		if !ok {
			through = s.anyBut(cmd.args[0])
		}
		return "", true, s.c.Forget(ctx, through, cmd.args[0], force)
	}
	do(cmd.args[0])
	return "", true, nil
}

// anyBut returns the first live node that has not this name.
func (s *script) anyBut(name string) string {
	for _, other := range s.c.Live() {
		if other != name {
			return other
		}
	}
	return name
}

// checks runs what looks at the cluster.
func (s *script) checks(cmd command) (said string, known bool, err error) {
	switch cmd.name {
	case "settle":
		s.c.AwaitSettled()
		return "", true, nil
	case "converge":
		return "", true, s.converge(cmd)
	case "end":
		if err := cmd.takes(1); err != nil {
			return "", true, err
		}
		return "", true, s.c.AwaitEnd(cmd.args[0])
	case "check":
		if err := cmd.takes(1); err != nil {
			return "", true, err
		}
		through := s.c.Live()
		if name, ok := cmd.options["through"]; ok {
			through = []string{name}
		}
		checks := map[string]func() error{
			"SET":     func() error { return s.c.checkFates(Present, through) },
			"GONE":    func() error { return s.c.checkGone(through) },
			"SAME":    s.c.CheckSame,
			"balance": func() error { return s.c.CheckBalanced(through[0]) },
		}
		check := checks[cmd.args[0]]
		if check == nil {
			return "", true, fmt.Errorf("%w: check SET, SAME, GONE or balance", errUsage)
		}
		if err := check(); err != nil {
			said = err.Error()
		}
		return said, true, nil
	case "tombstones":
		for _, name := range cmd.args {
			if st := s.c.Store(name).Stats(s.c.Clock(name).Now().UnixMilli()); st.Entries > st.Keys {
				said += name + " holds some\n"
			}
		}
		return said, true, nil
	case "status":
		if err := cmd.takes(1); err != nil {
			return "", true, err
		}
		said, err = s.status(cmd.args[0])
		return said, true, err
	}
	return "", false, nil
}

// converge waits until all replicas hold the same, and fails where that takes
// longer than it may.
func (s *script) converge(cmd command) error {
	begun := time.Now()
	s.c.Converge()
	text, ok := cmd.options["within"]
	if !ok {
		return nil
	}
	within, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%w: within: %w", errUsage, err)
	}
	if took := time.Since(begun); took > within {
		return fmt.Errorf("it took %v", took)
	}
	return nil
}

func (s *script) status(name string) (string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), s.c.opts.Timeout)
	defer cancel()
	st, err := s.c.Node(name).Status(ctx)
	if err != nil {
		return "", err
	}
	said := ""
	for _, m := range st.Members {
		said += m.Name + " " + m.Status + "\n"
	}
	if st.Change != nil {
		said += "a change waits for " + strings.Join(st.Change.WaitingFor, " ") + "\n"
	}
	return said, nil
}
