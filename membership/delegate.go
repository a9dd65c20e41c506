package membership

import (
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
)

// memberlistConfig starts from memberlist's settings for a local network.
// Differences, and why:
//   - probes twice as often, and a suspicion ends after at most 3 times its
//     shortest duration instead of 6: a killed node is noticed within seconds.
//     Lost packets do no harm to that, for memberlist probes by TCP before it
//     suspects;
//   - push/pull every 5 s instead of 30 s: what gossip lost is made up for;
//   - a name is free as soon as its holder is down;
//   - no compression: the pool is small, its messages short.
func (p *Pool) memberlistConfig() *memberlist.Config {
	t := &p.cfg.Timing
	c := memberlist.DefaultLANConfig()
	c.Name = p.cfg.Name
	c.Transport = p.net
	c.BindPort = int(p.net.advertise.Port())
	c.AdvertisePort = c.BindPort
	c.ProbeInterval = t.Probe
	c.ProbeTimeout = t.ProbeTimeout
	c.SuspicionMaxTimeoutMult = 3
	c.GossipInterval = t.Gossip
	c.PushPullInterval = t.PushPull
	c.TCPTimeout = t.Stream
	c.GossipToTheDeadTime = t.Dead
	c.DeadNodeReclaimTime = time.Nanosecond // 0 would mean never
	c.EnableCompression = false
	c.UDPBufferSize -= stampHead + maxCluster
	c.Logger = memberlistLogger(p.log)
	d := (*delegate)(p)
	c.Delegate, c.Events, c.Alive, c.Merge, c.Conflict, c.Ping = d, d, d, d, d, d
	// memberlist asks this when a probe's packet was not answered, and at no
	// other time. Its own suspicions are not to be had: Node.State stays what
	// it was when the node was met.
	c.DisableTcpPingsForNode = func(name string) bool {
		p.table.doubt(name, time.Now())
		return false
	}
	return c
}

// delegate is what memberlist calls. It does so under its own locks: nothing
// here waits, or calls memberlist.
type delegate Pool

var (
	_ memberlist.Delegate         = (*delegate)(nil)
	_ memberlist.EventDelegate    = (*delegate)(nil)
	_ memberlist.AliveDelegate    = (*delegate)(nil)
	_ memberlist.MergeDelegate    = (*delegate)(nil)
	_ memberlist.ConflictDelegate = (*delegate)(nil)
	_ memberlist.PingDelegate     = (*delegate)(nil)
)

// NodeMeta returns what this node says of itself. It fits: see Facts.encode.
func (d *delegate) NodeMeta(int) []byte { return d.self.Load().encoded }

// NotifyJoin takes in that a node is up.
func (d *delegate) NotifyJoin(n *memberlist.Node) { d.see(n) }

// NotifyUpdate takes in that a node says something new.
func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.see(n) }

func (d *delegate) see(n *memberlist.Node) {
	if n.Name == d.cfg.Name {
		return
	}
	facts, err := decodeFacts(n.Meta)
	if err != nil {
		return // NotifyAlive has refused it already
	}
	d.table.see(Node{Name: n.Name, Gossip: address(n), Facts: facts}, time.Now())
	signal(d.changed)
}

// NotifyLeave takes in that a node is down, or said goodbye.
func (d *delegate) NotifyLeave(n *memberlist.Node) {
	d.table.lose(n.Name, time.Now())
	signal(d.changed)
}

// NotifyAlive refuses nodes of other clusters that a node of none speaks of.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	facts, err := decodeFacts(n.Meta)
	if err != nil {
		return err
	}
	if foreign(facts.Cluster, d.self.Load().facts.Cluster) {
		return ErrForeign
	}
	return nil
}

// NotifyMerge looks at what a node that was dialed, or has dialed, knows. A
// newcomer stays out while its name is another's.
func (d *delegate) NotifyMerge(peers []*memberlist.Node) error {
	met := false
	for _, n := range peers {
		switch {
		case n.State != memberlist.StateAlive && n.State != memberlist.StateSuspect:
		case n.Name != d.cfg.Name:
			met = true
		case d.rival(n) && !d.joined.Load():
			return errNameTaken
		}
	}
	if met {
		// Only now: nobody must think that all was said who is still speaking.
		d.claims.meet()
	}
	return nil
}

// NotifyConflict takes in that two nodes claim one name.
func (d *delegate) NotifyConflict(_, other *memberlist.Node) {
	if other.Name == d.cfg.Name {
		d.rival(other)
	}
}

// rival takes in a claim on this node's name, and reports whether it is
// another's. What an earlier run of this node left behind at the same address
// is not: memberlist outbids it.
func (d *delegate) rival(n *memberlist.Node) bool {
	facts, err := decodeFacts(n.Meta)
	self := (*Pool)(d)
	if err != nil || facts.Boot == d.self.Load().facts.Boot || address(n) == self.Addr() {
		return false
	}
	d.claims.contest(Node{Name: n.Name, Gossip: address(n), Facts: facts})
	return true
}

// NotifyPingComplete takes in that a probe's packet was answered.
func (d *delegate) NotifyPingComplete(n *memberlist.Node, _ time.Duration, _ []byte) {
	d.table.hear(n.Name)
}

// AckPayload implements memberlist.PingDelegate; there is none.
func (d *delegate) AckPayload() []byte { return nil }

// NotifyMsg implements memberlist.Delegate; nobody sends any.
func (d *delegate) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate; there are none.
func (d *delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate; there is none.
func (d *delegate) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate; there is none.
func (d *delegate) MergeRemoteState([]byte, bool) {}

// address returns the gossip host:port of a node.
func address(n *memberlist.Node) string { return hostPort(n.Addr, n.Port) }

func hostPort(ip net.IP, port uint16) string {
	addr, _ := netip.AddrFromSlice(ip) // the zero Addr prints as invalid IP
	return netip.AddrPortFrom(addr.Unmap(), port).String()
}
