package rediskv

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/thunderdb/thunderdb/kv"
)

const (
	defaultPatience = 10 * time.Second
	defaultTimeout  = 3 * time.Second
	// minVersion is the oldest major version of Redis that knows flags of
	// scripts.
	minVersion = 7
)

// Options configures a [Store].
type Options struct {
	// Partitions is how many partitions the keys are kept apart in; 0 means
	// [kv.DefaultPartitions]. It must be the ring's number, and is remembered
	// at the server: another one is refused later.
	Partitions int
	// Namespace says whose entries these are: the node's name. Nodes that
	// share a server must differ in it.
	Namespace string
	// Patience is how long Open waits for the server, and for another process
	// to let go of the namespace; 0 means 10 s.
	Patience time.Duration
	// Timeout bounds an exchange with the server with all its tries, where the
	// context does not end earlier; 0 means 3 s. A call is one exchange, but
	// for scans, writes of more than 2048 entries or 4 MiB, and reads of more
	// than 512 keys: these are several, and end with the first that fails. So
	// where the server stops answering, a call ends after this time.
	Timeout time.Duration
	// Logger is told what nobody returns an error for; nil means nobody is.
	Logger hclog.Logger

	lease    time.Duration // see defaultLease; tests shorten it
	counting time.Duration // see defaultCounting; tests lengthen it
}

func (o *Options) complete() error {
	if o.Partitions < 0 || o.Patience < 0 || o.Timeout < 0 {
		return fmt.Errorf("redis store: negative option: partitions %d, patience %v, timeout %v",
			o.Partitions, o.Patience, o.Timeout)
	}
	if o.Namespace == "" {
		return errors.New("redis store: no namespace")
	}
	if o.Partitions == 0 {
		o.Partitions = kv.DefaultPartitions
	}
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.lease == 0 {
		o.lease = defaultLease
	}
	if o.counting == 0 {
		o.counting = defaultCounting
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	return nil
}

// Open opens the store that a URL names, in the form that [Check] describes,
// and waits for it as long as opts says. It starts a goroutine that renews the
// lease of the namespace until Close.
//
// The errors say what is wrong: the URL; a server that cannot be reached, is
// too old, refuses the password, evicts entries or is no Redis; a namespace
// that another process uses or that has another number of partitions.
//
// The client library writes failed connections to standard error, through a
// logger that the whole process shares. Open silences that: they are returned.
func Open(ctx context.Context, url string, opts Options) (*Store, error) {
	target, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	if err := opts.complete(); err != nil {
		return nil, err
	}
	redis.SetLogger(silence{})
	groups := 1
	if target.cluster() {
		groups = clusterGroups
	}
	dialing, hangUp := context.WithCancel(context.Background())
	s := &Store{
		gone:     make(chan struct{}),
		hangUp:   hangUp,
		target:   target,
		layout:   newLayout(opts.Namespace, opts.Partitions, min(groups, opts.Partitions)),
		scripts:  newScripts(),
		timeout:  opts.Timeout,
		counting: opts.counting,
		log:      opts.Logger,
	}
	s.lease.begin(opts.lease)
	s.client = connect(dialing, target, &opts, func(context.Context, *redis.Conn) error {
		s.lease.dials.Add(1)
		return nil
	})
	if err := s.begin(ctx, &opts); err != nil {
		_ = s.disconnect()
		return nil, fmt.Errorf("open redis at %s: %w", target, err)
	}
	keep, cancel := context.WithCancel(context.Background())
	s.lease.cancel = cancel
	s.lease.kept.Go(func() { s.keep(keep) })
	return s, nil
}

// silence is a logger of the client library that does not log.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// connect returns a client, which connects when it is used, calls connected
// before it uses a connection, and gives up connecting when dialing ends.
func connect(dialing context.Context, t *target, opts *Options, connected func(context.Context, *redis.Conn) error) redis.UniversalClient {
	name := "thunderdb-" + strings.Map(printable, opts.Namespace)
	o := &redis.UniversalOptions{
		Addrs:                 t.hosts,
		Dialer:                dialer(dialing, t, opts.Timeout),
		IsClusterMode:         t.cluster(),
		ClientName:            name,
		OnConnect:             connected,
		DB:                    t.db,
		Username:              t.user,
		Password:              t.password,
		Protocol:              2,  // nothing of 3 is used, and 2 is less to read
		MaxRetries:            -1, // retry does it, for all that may pass
		DialTimeout:           opts.Timeout,
		DialerRetries:         1,
		ReadTimeout:           opts.Timeout,
		WriteTimeout:          opts.Timeout,
		PoolTimeout:           opts.Timeout,
		ContextTimeoutEnabled: true,
		DisableIdentity:       true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
	return redis.NewUniversalClient(o)
}

// dialFunc is how a client connects.
type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// dialer returns what a client connects with. The library's own does not end
// with its context, and it connects in goroutines that outlive the client.
func dialer(dialing context.Context, t *target, timeout time.Duration) dialFunc {
	plain := &net.Dialer{Timeout: timeout}
	dial := plain.DialContext
	if t.tls {
		dial = (&tls.Dialer{NetDialer: plain, Config: &tls.Config{MinVersion: tls.VersionTLS12}}).DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		defer context.AfterFunc(dialing, cancel)()
		return dial(ctx, network, addr)
	}
}

// printable maps to - what a client's name must not have in it.
func printable(r rune) rune {
	if r <= ' ' || r > '~' {
		return '-'
	}
	return r
}

// begin waits for the server, checks that it is fit, and takes the namespace.
func (s *Store) begin(ctx context.Context, opts *Options) error {
	patience, cancel := context.WithTimeout(ctx, opts.Patience)
	defer cancel()
	err := s.await(patience, s.inspect)
	if err == nil {
		err = s.await(patience, func(ctx context.Context) error { return s.take(ctx, opts) })
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && patience.Err() != nil:
		return fmt.Errorf("given up after %v: %w", opts.Patience, err)
	}
	return err
}

// await calls op until it succeeds, it fails for good, or ctx ends.
func (s *Store) await(ctx context.Context, op func(context.Context) error) error {
	last := errors.New("it does not answer")
	for pause := firstPause; ; pause = min(2*pause, 250*time.Millisecond) {
		bound, cancel := context.WithTimeout(ctx, s.timeout)
		err := op(bound)
		cancel()
		var held *heldError
		if err == nil || !passes(err) && !errors.As(err, &held) {
			return err
		}
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
			last = err // that says more
		}
		select {
		case <-ctx.Done():
			return last
		case <-time.After(pause):
		}
	}
}

// take takes the namespace.
func (s *Store) take(ctx context.Context, opts *Options) error {
	c, err := s.claim(ctx, format(s.layout.partitions, len(s.layout.groups)))
	if err != nil {
		return explainOpen(err)
	}
	if c.format != "" {
		err = s.takeOld(c.format, opts)
	}
	if err == nil {
		err = s.takeMarks(ctx, c.format != "")
	}
	if err != nil {
		s.release()
		return err
	}
	s.lease.trust(c)
	return nil
}

// takeOld takes a namespace that has this format.
func (s *Store) takeOld(found string, opts *Options) error {
	partitions, groups, err := parseFormat(found)
	if err != nil {
		return err
	}
	if partitions != opts.Partitions {
		return fmt.Errorf("namespace %q has %d partitions, not %d; they cannot be changed", opts.Namespace, partitions, opts.Partitions)
	}
	if groups != len(s.layout.groups) { // it has moved between a server and a Cluster
		s.layout = newLayout(opts.Namespace, partitions, groups)
	}
	return nil
}
