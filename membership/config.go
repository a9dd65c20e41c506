package membership

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/hashicorp/go-hclog"
)

// DefaultPort is the gossip port of a seed that is given without one.
const DefaultPort = "7946"

// maxName is the longest name of a node, in bytes: it stands in every gossip
// message about it.
const maxName = 128

// Config says who this node is and where it finds others.
type Config struct {
	// Name identifies the node in the pool: 1 to 128 bytes of visible
	// characters, none of them a slash or a comma.
	Name string
	// Listen is the host:port for gossip, UDP and TCP. The host is an IP or a
	// name that resolves to one, and only that one is bound; "" means every
	// interface. Port 0 means any.
	Listen string
	// Advertise is the host that others reach this node at, an IP or a name;
	// "" means the one that is bound, or where all are bound, the first private
	// IP of the machine.
	Advertise string
	// Seeds are other nodes as host:port or host. A name may stand for many
	// nodes; it is resolved anew at each attempt.
	Seeds []string
	// Facts is what the node says of itself at first. Boot 0 means a NewBoot. The
	// strings must leave room for the longest cluster identity.
	Facts Facts
	// Known is where the addresses of known nodes are kept over restarts; nil
	// means nowhere.
	Known Keepsake
	// Identify asks the node behind a peer address (Facts.Peer) who it is. It
	// tells a node that has this one's name from the trace of one that is gone.
	// Where it is nil nobody is asked, and a name is free when the pool has
	// declared its holder down.
	Identify func(ctx context.Context, peerAddr string) (name string, boot uint64, err error)
	// Logger is nil for silence.
	Logger hclog.Logger
	Timing Timing

	// lose, in tests, says which packets and connections to addr are lost.
	lose func(addr string, packet bool) bool
	// lookup finds the addresses of a seed's host; the system does where it is
	// nil, which it is but in tests.
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Timing is how fast things happen. The zero values are for a local network: a
// killed node is seen to be down 2 to 4 s later in a pool of up to four, and at
// most 6 s after the first failed probe in a larger one.
type Timing struct {
	// Probe is how often one other node is probed, each in its turn; 0 means
	// 500 ms. A suspect has 4 × Probe (12 × where too few others confirm the
	// suspicion; more in a pool of more than ten) to answer before it is down.
	Probe time.Duration
	// ProbeTimeout is how long a probe's packet may take before the node is
	// probed through others and by TCP, for the rest of Probe; 0 means 3/5 of
	// Probe.
	ProbeTimeout time.Duration
	// Gossip is how often news are passed on; 0 means 100 ms.
	Gossip time.Duration
	// PushPull is how often everything is compared with one other node; 0 means
	// 5 s.
	PushPull time.Duration
	// Stream is how long a connection may take, to open and for each use; 0
	// means 5 s.
	Stream time.Duration
	// Dead is for how long news still go to a node that is down, and how long
	// one that is down and not in the ring stays in the view; 0 means 30 s.
	Dead time.Duration
	// Join is how often seeds are tried until the node has joined, and for how
	// long one that is silent is waited for where another answers; 0 means
	// 500 ms.
	Join time.Duration
	// Rejoin is how often seeds and absent nodes are tried after that; 0 means
	// 3 s.
	Rejoin time.Duration
	// Silence is how long all seeds must be silent before a founder or a member
	// takes its name for free; 0 means 3 s.
	Silence time.Duration
	// Identify is how long Config.Identify may take; 0 means 2 s.
	Identify time.Duration
}

func (t Timing) withDefaults() Timing {
	probe := cmp.Or(t.Probe, 500*time.Millisecond)
	return Timing{
		Probe:        probe,
		ProbeTimeout: cmp.Or(t.ProbeTimeout, probe*3/5),
		Gossip:       cmp.Or(t.Gossip, 100*time.Millisecond),
		PushPull:     cmp.Or(t.PushPull, 5*time.Second),
		Stream:       cmp.Or(t.Stream, 5*time.Second),
		Dead:         cmp.Or(t.Dead, 30*time.Second),
		Join:         cmp.Or(t.Join, 500*time.Millisecond),
		Rejoin:       cmp.Or(t.Rejoin, 3*time.Second),
		Silence:      cmp.Or(t.Silence, 3*time.Second),
		Identify:     cmp.Or(t.Identify, 2*time.Second),
	}
}

// validate checks what can be checked without the network.
func (c *Config) validate() error {
	if err := validateName(c.Name); err != nil {
		return err
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("gossip listener: %w", err)
	}
	for _, seed := range c.Seeds {
		if _, _, err := splitSeed(seed); err != nil {
			return fmt.Errorf("seed %q: %w", seed, err)
		}
	}
	return c.Facts.validate()
}

func validateName(name string) error {
	bad := func(r rune) bool {
		return r == '/' || r == ',' || r == unicode.ReplacementChar || unicode.IsSpace(r) || !unicode.IsGraphic(r)
	}
	switch {
	case name == "":
		return errors.New("a node needs a name")
	case len(name) > maxName:
		return fmt.Errorf("name of %d bytes, at most %d", len(name), maxName)
	case strings.ContainsFunc(name, bad):
		return fmt.Errorf("name %q: only visible characters, no slash and no comma", name)
	}
	return nil
}

// splitSeed splits host:port or host, which may be an IPv6 address with or
// without brackets.
func splitSeed(seed string) (host, port string, err error) {
	bare := strings.TrimSuffix(strings.TrimPrefix(seed, "["), "]")
	switch {
	case net.ParseIP(bare) != nil, seed != "" && !strings.Contains(seed, ":"):
		return bare, DefaultPort, nil
	}
	host, port, err = net.SplitHostPort(seed)
	if err != nil {
		return "", "", err
	}
	if host == "" {
		return "", "", errors.New("no host")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", "", fmt.Errorf("bad port %q", port)
	}
	return host, port, nil
}
