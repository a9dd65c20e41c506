package httpapi

import (
	"errors"
	"fmt"
	"time"
)

// Config holds the settings of a Server. Its zero value is ready to use.
type Config struct {
	// Software is the version of this binary, told in the metrics; "" is
	// "unknown".
	Software string
	Limits   Limits
	Timeouts Timeouts
	// Now is the clock that a TTL counts from; nil is time.Now.
	Now func() time.Time
}

// Limits bounds what one request, and all of them together, may take. A zero
// field stands for its default; a negative one is refused.
type Limits struct {
	Key        int // bytes of a key; 1,024 by default
	Value      int // bytes of a value; 1 MiB by default
	BatchOps   int // operations in a batch; 10,000 by default
	BatchBytes int // bytes of a batch's body, and of the original's POST /put; 16 MiB by default
	BodyBytes  int // bytes of memory for the bodies of all requests, streams aside; 1 GiB by default
	InFlight   int // requests served at once, health checks aside; 4,096 by default
	Header     int // bytes of a request's line and headers; 64 KiB by default
}

// Timeouts bounds how long things take. A zero field stands for its default; a
// negative one is refused.
type Timeouts struct {
	// Read is how long a request, its body included, may take to arrive; 30 s
	// by default. It does not bind streams.
	Read time.Duration
	// Request is how long the cluster may take for an operation before it is
	// answered with 504; 10 s by default.
	Request time.Duration
	// Write is how long after its arrival a request may take to be answered in
	// full; 60 s by default. It does not bind streams.
	Write time.Duration
	// Stream is how long a bulk load, an export or a snapshot may make no
	// progress at all; 60 s by default.
	Stream time.Duration
	// Idle is how long a connection may wait for its next request; 2 min by
	// default.
	Idle time.Duration
	// Drain is how long requests in flight may go on when the server stops;
	// 10 s by default.
	Drain time.Duration
}

// Media types that values have where nobody says.
const (
	typeText   = "text/plain; charset=utf-8"
	typeBinary = "application/octet-stream"
)

// maxContentType is how long a stored media type may be, in bytes. RFC 6838,
// section 4.2, allows 127 for each of its two names.
const maxContentType = 255

// withDefaults returns cfg with its zero fields filled, or an error that names
// every field that is negative.
func (cfg Config) withDefaults() (Config, error) {
	if cfg.Software == "" {
		cfg.Software = "unknown"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l, t := &cfg.Limits, &cfg.Timeouts
	return cfg, errors.Join(
		setDefault(&l.Key, 1024, "key limit"),
		setDefault(&l.Value, 1<<20, "value limit"),
		setDefault(&l.BatchOps, 10_000, "batch limit"),
		setDefault(&l.BatchBytes, 16<<20, "batch byte limit"),
		setDefault(&l.BodyBytes, 1<<30, "limit of bytes of bodies"),
		setDefault(&l.InFlight, 4096, "limit of requests in flight"),
		setDefault(&l.Header, 64<<10, "header limit"),
		setDefault(&t.Read, 30*time.Second, "read timeout"),
		setDefault(&t.Request, 10*time.Second, "request timeout"),
		setDefault(&t.Write, time.Minute, "write timeout"),
		setDefault(&t.Stream, time.Minute, "stream timeout"),
		setDefault(&t.Idle, 2*time.Minute, "idle timeout"),
		setDefault(&t.Drain, 10*time.Second, "drain timeout"),
	)
}

// setDefault gives a zero field its default.
func setDefault[T int | time.Duration](field *T, value T, name string) error {
	if *field < 0 {
		return fmt.Errorf("%s: %v is negative", name, *field)
	}
	if *field == 0 {
		*field = value
	}
	return nil
}
