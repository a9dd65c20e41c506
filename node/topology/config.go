package topology

import (
	"context"
	"errors"
	"time"

	"github.com/thunderdb/thunderdb/membership"
	"github.com/thunderdb/thunderdb/ring"
)

var (
	// ErrNoRing is returned while this node knows no ring.
	ErrNoRing = errors.New("no ring is known yet")
	// ErrRemoved is returned by [Keeper.Run] when the identity of this node's
	// store is out of the ring for good. What it holds counts no more: it must be
	// emptied, and take a new identity.
	ErrRemoved = errors.New("this node's store is out of the ring")
	// ErrSetBack is returned by [Keeper.Run] when the store is at an older state
	// than others know it was, as after a backup was restored: writes that it has
	// acknowledged may be missing. It must not take part; whether what it holds is
	// still needed is for people to judge.
	ErrSetBack = errors.New("this node's store has been put back to an older state than this node has promised to others")
	// ErrMemberUp is returned by [Keeper.Forget] of a member that is up.
	ErrMemberUp = errors.New("the member is up")
	// ErrNoMember is returned by [Keeper.Forget] of what is no member.
	ErrNoMember = errors.New("no such member")
	// ErrTooFew is returned where a majority of the members is gone, or where too
	// few replicas of a partition would be left to find all writes in.
	ErrTooFew = errors.New("too few replicas would be left")
	// ErrLastMember is returned where no member would be left.
	ErrLastMember = errors.New("the last member cannot leave")
	// ErrBusy is returned where a change of the ring is under way already.
	ErrBusy = errors.New("another change of the ring is under way")
)

// Pool is what a keeper needs of the gossip pool. It is safe for concurrent
// use.
type Pool interface {
	View() *membership.View
	Watch() (changed <-chan struct{}, stop func())
	Update(change func(*membership.Facts)) error
	Joined() bool
}

// Asker puts a question to another node, over the peer protocol. The node is
// named as in the pool. It is safe for concurrent use.
type Asker interface {
	Ask(ctx context.Context, node, question string, in, out any) error
}

// Data is what a keeper needs done to this node's entries. Its methods may be
// called at the same time.
type Data interface {
	// Empty removes all entries of the partitions from the store. No request for
	// them is admitted before it has returned nil.
	Empty(ctx context.Context, partitions []int) error

	// Compare does the tasks: brings each partition up to what the sources hold.
	// Durable when it returns nil. This node is sealed for the version by then,
	// and what was let in before must have ended before Compare returns nil: it is
	// called also where there are no tasks because this node is the only source
	// that it needs. It may be called again with the same version after an error,
	// with other tasks where other members are up, and then goes on where it was.
	Compare(ctx context.Context, version uint64, tasks []Task) error

	// Clean removes entries of the partitions that this node does not hold any
	// more, each only after every current replica was given what it lacks of it.
	// Called in the background, again after an error. It must have ended soon
	// after ctx has: the node may be about to hold one of them again.
	Clean(ctx context.Context, s *State, partitions []int) error
}

// Task is a partition, and whom to compare it with.
type Task struct {
	Partition int
	Groups    []Group // in order of versions
}

// Group is the other replicas of a partition under one version.
type Group struct {
	Version uint64
	Need    int           // of Members, at least 1
	Members []ring.Member // this node not among them; those that are up come first
}

// Config says what a keeper is for.
type Config struct {
	Name string // of this node
	// Storage is the identity of its store, which is lost with it; 0 means a new
	// one.
	Storage uint64
	// Founder says that this node may found a cluster, when for FoundingWait
	// nobody in the pool is in a ring. Its store must be empty.
	Founder      bool
	FoundingWait time.Duration
	// Partitions is how many the cluster has that this node founds or joins: its
	// store is made for that number. 0 means kv.DefaultPartitions.
	Partitions int
	// Replicas is that of a cluster that this node founds; 0 means
	// DefaultReplicas.
	Replicas int
	// Cache says that this node's store may evict what it holds. All members of a
	// cluster are alike in that.
	Cache bool
	// ForgetAfter is how long a member may be down before it is forgotten without
	// being asked for; 0 means for ever.
	ForgetAfter time.Duration
	// Tick is how often a keeper looks again at what it could not complete;
	// 0 means 250 ms. Changes in the pool are acted upon at once.
	Tick time.Duration
}

// DefaultReplicas is how many members hold each partition, unless the founder
// says otherwise.
const DefaultReplicas = 3
