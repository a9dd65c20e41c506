package nodetest

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"
)

// History is what clients did to a few keys, and were told, in an order that
// can be checked: each key must behave as one register that does one operation
// at a time, between its beginning and its end (Herlihy and Wing, 1990). Its
// methods are safe for concurrent use.
//
// Times are counted, not measured: in a bubble much happens at one time, and
// would all count as concurrent.
type History struct {
	now atomic.Int64
	mu  sync.Mutex // guards ops
	ops []porcupine.Operation
}

// action is what a client asked for.
type action int

const (
	reading  action = iota
	setting         // to a value, or to nothing
	swapping        // one value for another, where it was that one: see excused
)

// register is what a key holds. The zero register is a key that is absent.
type register struct {
	exists bool
	value  string
}

// String returns the value, quoted.
func (r register) String() string {
	if !r.exists {
		return "nothing"
	}
	return fmt.Sprintf("%q", r.value)
}

// input is the question of a client.
type input struct {
	key      string
	do       action
	old, new register // old of a swap only
}

// output is the answer.
type output struct {
	unknown bool // whether it was done
	held    register
	swapped bool
}

// begin returns the time at which an operation begins.
func (h *History) begin() int64 { return h.now.Add(1) }

// end takes down an operation. One whose outcome is not known may yet be done
// at any later time, or never, which is as if it were done last of all.
func (h *History) end(client int, in input, began int64, out output) {
	ended := h.now.Add(1)
	if out.unknown {
		ended = math.MaxInt64
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Call: began, Output: out, Return: ended})
}

// Len returns how many operations have been taken down.
func (h *History) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ops)
}

// Check returns an error unless the history is linearizable. It gives up
// after a while, 0 for never, which is an error too; in a bubble time does not
// pass meanwhile, so there it is better called afterwards.
func (h *History) Check(patience time.Duration) error {
	h.mu.Lock()
	ops := append([]porcupine.Operation(nil), h.ops...)
	h.mu.Unlock()
	for _, of := range byKey(ops) {
		key := of[0].Input.(input).key
		switch porcupine.CheckOperationsTimeout(registers, prune(of), patience) {
		case porcupine.Illegal:
			return fmt.Errorf("the history of %q is not linearizable:%s", key, describe(of))
		case porcupine.Unknown:
			return fmt.Errorf("whether the history of %q is linearizable was not found out in %v: %d operations", key, patience, len(of))
		}
	}
	return nil
}

// registers is the model of one key.
var registers = porcupine.Model{
	Init: func() any { return register{} },
	Step: func(state, in, out any) (bool, any) {
		return step(state.(register), in.(input), out.(output))
	},
	DescribeOperation: func(in, out any) string { return text(in.(input), out.(output)) },
}

// step reports whether a register may answer so, and what it holds then.
func step(held register, in input, out output) (bool, register) {
	switch in.do {
	case reading:
		return out.held == held, held
	case setting:
		return true, in.new
	}
	if out.unknown || out.swapped == (held == in.old) {
		if held == in.old {
			return true, in.new
		}
		return true, held
	}
	return excused(in, out), held
}

// excused reports whether an answer says nothing of what the key held. A swap is
// conditional on a version, and what a key holds may get a new version though
// nobody has written: where a read, or a swap that was refused, had to make sure
// that it stays. So a value may be there, and its swap be refused. Nothing has no
// version.
func excused(in input, out output) bool {
	return in.do == swapping && !out.unknown && !out.swapped && in.old.exists
}

func text(in input, out output) string {
	said := "ok"
	if out.unknown {
		said = "unknown"
	}
	switch in.do {
	case reading:
		return fmt.Sprintf("read %s", out.held)
	case setting:
		return fmt.Sprintf("set %s: %s", in.new, said)
	}
	if !out.unknown && !out.swapped {
		said = "refused"
	}
	return fmt.Sprintf("swap %s for %s: %s", in.old, in.new, said)
}

// byKey returns the operations on each key, in the order of the first ones.
func byKey(ops []porcupine.Operation) [][]porcupine.Operation {
	var out [][]porcupine.Operation
	at := map[string]int{}
	for _, op := range ops {
		key := op.Input.(input).key
		i, known := at[key]
		if !known {
			i = len(out)
			at[key] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], op)
	}
	return out
}

// prune leaves out operations on a key that may as well never have been done,
// for each of them doubles what a checker has to try: those of unknown outcome
// whose value, which nobody else wrote, was never seen, and which explain no
// refusal of a swap either, for no swap was refused after they began.
func prune(ops []porcupine.Operation) []porcupine.Operation {
	seen := map[register]bool{{}: true} // what is absent was anybody's doing
	var refused int64                   // when the last refusal ended
	for _, op := range ops {
		in, out := op.Input.(input), op.Output.(output)
		switch {
		case in.do == reading:
			seen[out.held] = true
		case in.do == swapping && !out.unknown && !out.swapped && !excused(in, out):
			refused = max(refused, op.Return)
			fallthrough
		case in.do == swapping:
			seen[in.old] = true
		}
	}
	var out []porcupine.Operation
	for _, op := range ops {
		if op.Output.(output).unknown && !seen[op.Input.(input).new] && op.Call > refused {
			continue
		}
		out = append(out, op)
	}
	return out
}

// describe lists operations, a line each.
func describe(ops []porcupine.Operation) string {
	lines := ""
	for _, op := range ops {
		end := fmt.Sprint(op.Return)
		if op.Return == math.MaxInt64 {
			end = ""
		}
		lines += fmt.Sprintf("\n  %d-%s client %d: %s", op.Call, end, op.ClientId, text(op.Input.(input), op.Output.(output)))
	}
	return lines
}
