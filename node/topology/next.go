package topology

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/thunderdb/thunderdb/ring"
)

// change is what a record is to do to the one before. The zero value does
// nothing.
type change struct {
	// join is taken in, each instead of the member of its name, if there is one:
	// that has come back without what it held, and so is forgotten.
	join []ring.Member
	// leave and forget are storage identities that are to go, having handed over
	// what they hold, and without. To forget is also to wait no longer for one
	// that is on its way out.
	leave, forget []uint64
}

func (c *change) empty() bool { return len(c.join)+len(c.leave)+len(c.forget) == 0 }

// next returns the record that follows the newest of the live versions. The
// error is ErrTooFew or ErrLastMember.
func next(live []*ring.Ring, c change) (ring.Record, error) {
	r := live[len(live)-1].Record()
	r.Version++
	for _, storage := range c.leave {
		remove(&r, storage, false)
	}
	before := len(live[len(live)-1].Members())
	forgets := len(c.forget) > 0
	for _, storage := range c.forget {
		remove(&r, storage, true)
	}
	for _, m := range c.join {
		if i := slices.IndexFunc(r.Members, func(o ring.Member) bool { return o.Name == m.Name }); i >= 0 {
			remove(&r, r.Members[i].Storage, true)
			forgets = true
		}
		r.Members = append(r.Members, m)
	}
	if len(r.Members) == 0 {
		return r, fmt.Errorf("%w: %d would go", ErrLastMember, before)
	}
	sortMembers(r.Members)
	if forgets && !enough(live, gone(&r)) {
		return r, fmt.Errorf("%w: not all that was written could be found in them", ErrTooFew)
	}
	return r, nil
}

// remove takes a storage identity out of a record.
func remove(r *ring.Record, storage uint64, forgotten bool) {
	r.Members = slices.DeleteFunc(r.Members, func(m ring.Member) bool { return m.Storage == storage })
	if i := slices.IndexFunc(r.Removed, func(o ring.Removed) bool { return o.Storage == storage }); i >= 0 {
		r.Removed[i].Forgotten = r.Removed[i].Forgotten || forgotten
		return
	}
	r.Removed = append(r.Removed, ring.Removed{Storage: storage, Forgotten: forgotten})
}

// gone returns what says whether a record forgets a storage identity.
func gone(r *ring.Record) func(storage uint64) bool {
	forgotten := map[uint64]bool{}
	for _, o := range r.Removed {
		if o.Forgotten {
			forgotten[o.Storage] = true
		}
	}
	return func(storage uint64) bool { return forgotten[storage] }
}

// forced returns a record that no vote is needed for: it begins a new
// generation of the cluster, of those members alone that keep says. What the
// others held is given up. The error is ErrLastMember.
func forced(live []*ring.Ring, keep func(ring.Member) bool) (ring.Record, error) {
	r := live[len(live)-1].Record()
	r.Version++
	r.Cluster = nextGeneration(r.Cluster)
	for _, version := range live {
		for _, m := range version.Members() {
			if !keep(m) {
				remove(&r, m.Storage, true)
			}
		}
	}
	if len(r.Members) == 0 {
		return r, fmt.Errorf("%w: none is up", ErrLastMember)
	}
	return r, nil
}

func sortMembers(members []ring.Member) {
	slices.SortFunc(members, func(a, b ring.Member) int { return strings.Compare(a.Name, b.Name) })
}

// A cluster's identity is what its founder drew, and then, once members were
// given up by force, a dot, the number of its generation, and what was drawn
// for that: two parts of a cluster that were both forced to go on without the
// other are not one any more.

// nextGeneration returns the identity of the generation after cluster's.
func nextGeneration(cluster string) string {
	base, number := generation(cluster)
	return fmt.Sprintf("%s.%d-%s", base, number+1, draw(3))
}

// generation returns what the founder drew for an identity, and the number of
// its generation; the first is 1.
func generation(cluster string) (base string, number int) {
	base, rest, found := strings.Cut(cluster, ".")
	if !found {
		return base, 1
	}
	digits, _, _ := strings.Cut(rest, "-")
	number, _ = strconv.Atoi(digits) // 0 where it is none of ours: it follows nothing
	return base, number
}

// follows reports whether a version of cluster b may come after one of a.
func follows(a, b string) bool {
	if a == b {
		return true
	}
	baseA, numberA := generation(a)
	baseB, numberB := generation(b)
	return baseA == baseB && numberA < numberB
}

// draw returns n random bytes in hexadecimal.
func draw(n int) string {
	id := make([]byte, n)
	_, _ = rand.Read(id) // never fails: see its documentation
	return hex.EncodeToString(id)
}
