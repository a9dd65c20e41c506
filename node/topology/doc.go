// Package topology keeps the ring of a cluster: which version this node
// knows, how the next one comes about, and from when on it may be used.
//
// It promises that two nodes never serve one partition at the same time. The
// rules, for a ring whose keys have one replica each:
//
//  1. A ring version is an immutable [ring.Record]. The founder writes
//     version 1. Version v+1 adds to version v the nodes that wait to join.
//
//  2. Only the driver of version v writes v+1: the member with the lowest
//     name. It does so only when every member of v is up and has acknowledged
//     v, there and then, so there is one record for each number, and no change
//     begins before the last one is settled.
//
//  3. A node that learns of a version adopts it at once: it stops serving what
//     the version takes from it. It acknowledges the version when no request
//     that it admitted under an earlier one is still running.
//
//  4. When all members of v have acknowledged v, twice from the same processes
//     because one that restarts may forget, it is settled, and the driver tells
//     them. Until then a member does not serve the partitions that v
//     gives to it; requests for them wait. So whoever served them before has
//     stopped, and every write that it acknowledged is in its store.
//
//  5. Data stays where it was written. Whoever owns a partition now asks its
//     former owners for a key that it does not hold itself, and for every key
//     where it has the partition for the second time. Its clock is past all of
//     theirs, for clocks travel with acknowledgements, so what it writes
//     supersedes what they hold.
//
//  6. A node that knows no ring takes over none before every node that is up
//     and knows one has answered, and none before its name is known to be free.
//
//  7. What a node adopts it saves in its store first, with its clock. So a node
//     whose store outlives it comes back with all that it acknowledged: by 4, no
//     later version than the one it knows can have been settled meanwhile, and
//     it serves what it served before, alone if need be. Those that are up it
//     asks first all the same: a server that keeps its store may have come back
//     with an older state.
//
// A member that is down stalls a change of the ring, and with it, where the
// change has begun, the partitions that it moves. The promise holds for the
// nodes that the pool knows: of a node that was paused and replaced under its
// name meanwhile, membership makes the older process end when it goes on.
package topology
