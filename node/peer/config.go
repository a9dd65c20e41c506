package peer

import (
	"context"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/thunderdb/thunderdb/kv"
)

// Limits that hold where a configuration leaves them zero.
const (
	defaultTimeout    = 10 * time.Second
	defaultQueueBytes = 16 << 20
	defaultFrameBytes = 1 << 20
	defaultMaxFrame   = 64 << 20
	defaultStall      = 3 * time.Second
	defaultHandshake  = 2 * time.Second
	defaultDrain      = 5 * time.Second
)

// Identity is who a node is.
type Identity struct {
	Name string
	// Boot tells two lives of the same name apart.
	Boot uint64
	// Cluster returns the identity of the cluster that the node belongs to, or
	// "" as long as it knows none. It is called for every connection and from
	// several goroutines.
	Cluster func() string
	// Storage returns the identity of the store whose entries the node serves;
	// 0, or a nil Storage, where it has none. It is called as Cluster is, and for
	// every frame that is served.
	Storage func() uint64
}

// DialFunc opens a connection to a host:port. It gives up when ctx ends.
type DialFunc func(ctx context.Context, addr string) (net.Conn, error)

// ClientConfig is what the clients of a node have in common. Only Self is
// required.
type ClientConfig struct {
	Self   Identity
	Clock  *kv.Clock    // nil: a clock of its own
	Logger hclog.Logger // nil: silence
	Dial   DialFunc     // nil: TCP

	// Timeout is the deadline of a call whose context has none; 0 means 10 s.
	Timeout time.Duration
	// QueueBytes is how much may wait in one lane, counted in bytes of keys,
	// values and a little for each operation; 0 means 16 MiB. A call that alone
	// is larger is let in when nothing else waits.
	QueueBytes int
	// FrameBytes ends a frame: it is sent once it has grown to this size. 0
	// means 1 MiB.
	FrameBytes int
	// MaxFrame is the size in bytes of the largest frame that is sent or
	// accepted, and so the limit of an operation. 0 means 64 MiB.
	MaxFrame int
	// Stall is how long a peer that something was asked of may stay silent
	// before its connection is given up; 0 means 3 s. A peer that is at work
	// says so every quarter of its own ServerConfig.Stall, which must not be
	// much longer than this.
	Stall time.Duration
	// Handshake bounds dialling and the handshake; 0 means 2 s.
	Handshake time.Duration
}

// withDefaults returns cfg with its zero fields filled.
func (cfg ClientConfig) withDefaults() ClientConfig {
	cfg.Self = cfg.Self.withDefaults()
	cfg.Clock = clockOr(cfg.Clock)
	cfg.Logger = loggerOr(cfg.Logger)
	if cfg.Dial == nil {
		cfg.Dial = dialTCP
	}
	setDefault(&cfg.Timeout, defaultTimeout)
	setDefault(&cfg.QueueBytes, defaultQueueBytes)
	setDefault(&cfg.FrameBytes, defaultFrameBytes)
	setDefault(&cfg.MaxFrame, defaultMaxFrame)
	setDefault(&cfg.Stall, defaultStall)
	setDefault(&cfg.Handshake, defaultHandshake)
	return cfg
}

// ServerConfig is how a node answers its peers. Only Self is required.
type ServerConfig struct {
	Self   Identity
	Clock  *kv.Clock    // nil: a clock of its own
	Logger hclog.Logger // nil: silence

	// Timeout is the deadline of a control call that states none; 0 means 10 s.
	Timeout time.Duration
	// FrameBytes ends a frame of replies, as in ClientConfig.
	FrameBytes int
	// MaxFrame is the size in bytes of the largest frame and the largest
	// control call that is accepted; 0 means 64 MiB.
	MaxFrame int
	// Stall is how long a peer may take nothing of a reply before its
	// connection is closed; 0 means 3 s. See also ClientConfig.
	Stall time.Duration
	// Drain is how long what is in flight may go on once Serve's context has
	// ended; 0 means 5 s.
	Drain time.Duration
}

// withDefaults returns cfg with its zero fields filled.
func (cfg ServerConfig) withDefaults() ServerConfig {
	cfg.Self = cfg.Self.withDefaults()
	cfg.Clock = clockOr(cfg.Clock)
	cfg.Logger = loggerOr(cfg.Logger)
	setDefault(&cfg.Timeout, defaultTimeout)
	setDefault(&cfg.FrameBytes, defaultFrameBytes)
	setDefault(&cfg.MaxFrame, defaultMaxFrame)
	setDefault(&cfg.Stall, defaultStall)
	setDefault(&cfg.Drain, defaultDrain)
	return cfg
}

func (id Identity) withDefaults() Identity {
	if id.Cluster == nil {
		id.Cluster = func() string { return "" }
	}
	if id.Storage == nil {
		id.Storage = func() uint64 { return 0 }
	}
	return id
}

func setDefault[T ~int | ~int64](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

func clockOr(c *kv.Clock) *kv.Clock {
	if c == nil {
		return kv.NewClock(nil)
	}
	return c
}

func loggerOr(l hclog.Logger) hclog.Logger {
	if l == nil {
		return hclog.NewNullLogger()
	}
	return l
}

func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}
