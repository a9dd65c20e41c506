// Package topology keeps the ring of a cluster: which versions of it this node
// knows, how the next one comes about, and what each of them may be used for.
//
// It promises that no acknowledged write is lost or hidden by a change of the
// ring, as long as of the replicas of a partition no more are lost than a
// majority can spare, and that no two rings have one number. The rules:
//
//  1. A ring version is an immutable [ring.Record]. Its members are names with
//     the identity of what each keeps its entries in: who comes back without
//     them is another member. The founder writes version 1.
//
//  2. Version v+1 is decided by a majority of the members of v, by single-decree
//     Paxos; see paxos.go. A member that knows v+1 does not vote on it any more,
//     it passes it on. Any member may propose, and the first in the order of
//     names does so first. Nodes that come together are taken in together. While
//     a change is under way none begins, but one that gives up a member.
//
//  3. Several versions may be live, lo to hi; at most one of them is read from.
//     Writes go to the replicas under all of them, and need a majority of each.
//
//  4. Each storage identity says how far it is, in three numbers that only rise.
//     Ack v: it knows v, and no request is running that it admitted under an
//     older version. Sync v: it holds what v assigns to it. Done v: it knows that
//     all have synced v, and reads from it. All means the members of all live
//     versions up to v; those that the newest record forgets are not waited for,
//     and say nothing any more; see tracker.go.
//
//  5. When all have acknowledged v, each of its members compares each partition
//     that it holds under v with so many replicas under every version since the
//     one that is read that they meet all writes acknowledged there; see plan.go.
//     Versions are synced in order. Who has served a comparison for v, or made
//     one, has sealed itself: it refuses whoever does not know v.
//
//  6. When all members of v have synced it, and none of them has been forgotten,
//     reads move to v. When all are done with v, older versions are dropped.
//
//  7. A partition that comes to a node is emptied there before the node knows
//     the version that brings it. What a node holds no more is deleted once one
//     version is live, after the requests that were admitted before.
//
//  8. A member is forgotten only where every partition keeps so many replicas of
//     each live version that rule 5 can be kept. By force it can be otherwise:
//     then a new generation of the cluster's identity begins, to which nodes of
//     the older one are strangers. An identity that was removed never returns.
//
//  9. Whatever a node knows, has promised and has voted is saved in its store
//     before anybody can see it, and lost only together with the entries.
//
//  10. A process serves once a majority of the newest version's members has said
//     that it knows no newer one. A node founds a cluster only where it has heard
//     of no ring for a while, and does nothing before its name is known to be
//     free.
//
// What requests have to do for these rules is written on [State] and
// [Keeper.Acquire], [Keeper.Seal] and [Keeper.Refresh].
package topology
