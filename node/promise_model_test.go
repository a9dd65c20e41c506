package node

import (
	"fmt"
	"testing"
)

// This is a model of what decisions/0011 is about: all that can happen to one key on
// three replicas, of which two are enough, when
//
//   - every replica holds version 5, which is acknowledged,
//   - an unconditional writer stamps 7, reaches some replicas, sooner or later,
//     and dies,
//   - a conditional writer stamps 9, to take the place of 5: it asks for promises,
//     judges by what two replicas answer, and reaches some,
//   - each replica may restart once,
//   - reads meet any two replicas, and return the newer version once two hold it.
//
// Once 7 was returned, 9 must not be: it would have taken the place of 7.

// modelRule is what becomes of a promise when its replica restarts.
type modelRule struct {
	saved bool
	// ceiling has a replica that has restarted refuse writers whose stamps are not
	// above what it may have promised; repairs are taken.
	ceiling bool
}

// model is one state. It is comparable.
type model struct {
	held      [3]int
	promised  [3]bool // to take nothing below 9
	restarted [3]bool
	answered  [3]int // what the conditional writer was told; 0: nothing yet
	judged    bool   // it applies 9
	returned7 bool
}

// next calls visit for each state that can follow, with what happened. Version 9
// after 7 is returned as broken.
func (m model) next(rule modelRule, visit func(event string, then model)) (broken bool) {
	for i := range 3 {
		then := m
		if m.held[i] < 7 && !m.promised[i] && (!rule.ceiling || !m.restarted[i]) {
			then.held[i] = 7
			visit(fmt.Sprintf("7 reaches %d", i), then)
		}
		then = m
		if m.answered[i] == 0 {
			then.promised[i], then.answered[i] = true, m.held[i]
			visit(fmt.Sprintf("%d promises, holds %d", i, m.held[i]), then)
		}
		then = m
		if m.judged && m.held[i] < 9 {
			then.held[i], then.promised[i] = 9, false // it is kept
			visit(fmt.Sprintf("9 reaches %d", i), then)
		}
		then = m
		if !m.restarted[i] {
			then.restarted[i] = true
			then.promised[i] = m.promised[i] && rule.saved
			visit(fmt.Sprintf("%d restarts", i), then)
		}
	}
	for _, two := range [][2]int{{0, 1}, {0, 2}, {1, 2}} {
		a, b := two[0], two[1]
		if told := max(m.answered[a], m.answered[b]); !m.judged && min(m.answered[a], m.answered[b]) > 0 && told == 5 {
			then := m
			then.judged = true
			visit(fmt.Sprintf("the condition holds for %d and %d", a, b), then)
		}
		newest := max(m.held[a], m.held[b])
		for i := range 3 { // which is given it, where only one of the two has it
			then := m
			switch {
			case m.held[a] == m.held[b]:
			case m.held[i] < newest && (newest == 9 || !m.promised[i]):
				then.held[i] = newest
			default:
				continue // refused, so nothing is returned
			}
			if newest == 9 && m.returned7 {
				return true
			}
			then.returned7 = m.returned7 || newest == 7
			visit(fmt.Sprintf("a read of %d and %d gives it to %d and returns %d", a, b, i, newest), then)
		}
	}
	return false
}

// modelStart is where everything begins.
var modelStart = model{held: [3]int{5, 5, 5}}

// explore visits all states, and returns the shortest way to a broken one, nil
// where there is none.
func explore(rule modelRule) (way []string, states int) {
	type step struct {
		from  model
		event string
	}
	came := map[model]step{modelStart: {}}
	for queue := []model{modelStart}; len(queue) > 0; queue = queue[1:] {
		m := queue[0]
		broken := m.next(rule, func(event string, then model) {
			if _, known := came[then]; !known {
				came[then] = step{m, event}
				queue = append(queue, then)
			}
		})
		if broken {
			way = []string{"a read returns 9"}
			for ; m != modelStart; m = came[m].from {
				way = append([]string{came[m].event}, way...)
			}
			return way, len(came)
		}
	}
	return nil, len(came)
}

func TestSavedPromisesAreNeeded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rule modelRule
		safe bool
	}{
		"saved":                        {modelRule{saved: true}, true},
		"in memory":                    {modelRule{}, false},
		"in memory, and a clock saved": {modelRule{ceiling: true}, false},
	} {
		way, states := explore(c.rule)
		t.Logf("%s: %d states, broken by %q", name, states, way)
		if (way == nil) != c.safe {
			t.Errorf("%s: is safe: %t", name, way == nil)
		}
	}
}
