package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/hashicorp/go-hclog"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/kv/memcachekv"
	"github.com/thunderdb/thunderdb/kv/pebblekv"
	"github.com/thunderdb/thunderdb/kv/rediskv"
)

// storeFlags is what serve's flags say of the store.
type storeFlags struct {
	Store         string
	Sync          bool
	MaxMemoryText string

	MaxMemory int64 // bytes, parsed from MaxMemoryText; 0 is no limit
}

// The kinds of store, as --store begins.
const (
	storeMemory    = "memory"
	storeDisk      = "disk:"
	storeRedis     = "redis://"
	storeRedisTLS  = "rediss://"
	storeMemcached = "memcached://"
)

// kind returns which kind of store is asked for, "" where there is none such.
func (f *storeFlags) kind() string {
	if f.Store == storeMemory {
		return storeMemory
	}
	for _, kind := range []string{storeDisk, storeRedis, storeRedisTLS, storeMemcached} {
		if strings.HasPrefix(f.Store, kind) {
			return kind
		}
	}
	return ""
}

// validate checks what can be checked without opening anything.
func (f *storeFlags) validate() error {
	var err error
	switch f.kind() {
	case storeMemory:
	case storeDisk:
		if f.dir() == "" {
			err = errors.New("name a directory, as in disk:/var/lib/thunderdb")
		}
	case storeRedis, storeRedisTLS:
		err = rediskv.Check(f.Store)
	case storeMemcached:
		err = memcachekv.Check(f.Store)
	default:
		err = errors.New("want memory, disk:DIR, redis://HOST:PORT/DB or memcached://HOST:PORT")
	}
	if err != nil {
		return f.fault(err)
	}
	if !f.Sync && f.kind() != storeDisk {
		return fmt.Errorf("--sync=false is for --store disk:DIR, not for %s", f.shown())
	}
	return f.parseMaxMemory()
}

func (f *storeFlags) parseMaxMemory() error {
	if f.MaxMemoryText == "" {
		return nil
	}
	size, err := humanize.ParseBytes(f.MaxMemoryText)
	if err != nil || size < 1 || size > 1<<62 {
		return fmt.Errorf("--max-memory %q: want a size, as in 512MiB", f.MaxMemoryText)
	}
	if f.kind() != storeMemory {
		return fmt.Errorf("--max-memory is for --store memory, not for %s", f.shown())
	}
	f.MaxMemory = int64(size)
	store, err := kv.NewMemory(kv.MemoryOptions{MaxBytes: f.MaxMemory})
	if err != nil {
		return fmt.Errorf("--max-memory %s: %w", f.MaxMemoryText, err)
	}
	return store.Close()
}

// nodeStore is what a node needs of its store, whichever it is.
type nodeStore interface {
	kv.Store
	kv.Metadata
}

// open opens the store of the node called name.
func (f *storeFlags) open(ctx context.Context, name string, logger hclog.Logger) (nodeStore, error) {
	var store nodeStore
	var err error
	switch f.kind() {
	case storeMemory:
		store, err = kv.NewMemory(kv.MemoryOptions{MaxBytes: f.MaxMemory})
	case storeDisk:
		store, err = pebblekv.Open(f.dir(), pebblekv.Options{NoSync: !f.Sync, Logger: logger})
	case storeRedis, storeRedisTLS:
		store, err = rediskv.Open(ctx, f.Store, rediskv.Options{Namespace: name, Logger: logger})
	case storeMemcached:
		store, err = memcachekv.Open(ctx, f.Store, memcachekv.Options{Namespace: name, Logger: logger})
	}
	if err != nil {
		return nil, f.fault(err)
	}
	return store, nil
}

// dir returns the directory of a store on disk.
func (f *storeFlags) dir() string { return strings.TrimPrefix(f.Store, storeDisk) }

// hintDir returns the directory of the hints of a node whose store is on disk,
// "" of any other: they are kept where the entries are.
func (f *storeFlags) hintDir() string {
	if f.kind() != storeDisk {
		return ""
	}
	return filepath.Join(f.dir(), "hints")
}

// outlives reports whether what the store holds is there when its node's
// process is not.
func (f *storeFlags) outlives() bool { return f.kind() != storeMemory }

// fault returns an error that names the store as it was asked for.
func (f *storeFlags) fault(err error) error { return fmt.Errorf("--store %s: %w", f.shown(), err) }

// shown returns what was asked for without a password.
func (f *storeFlags) shown() string {
	at := strings.LastIndex(f.Store, "@")
	if at < 0 || f.kind() == storeDisk {
		return f.Store
	}
	return f.kind() + "***" + f.Store[at:] // also where it is misspelt
}

// maxValue returns the largest value, in bytes, that a node takes: what its
// flags allow, or less where its store cannot hold that.
func maxValue(store kv.Store, allowed int) int {
	if limited, ok := store.(interface{ MaxValue() int }); ok {
		return min(allowed, limited.MaxValue())
	}
	return allowed
}

// peersName is what the addresses of known nodes are saved under.
const peersName = "peers"

// keepsakeTimeout bounds one access to a keepsake.
const keepsakeTimeout = 5 * time.Second

// keepsake is a membership.Keepsake in a node's store.
type keepsake struct{ meta kv.Metadata }

// Load implements membership.Keepsake.
func (k keepsake) Load() ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), keepsakeTimeout)
	defer cancel()
	data, err := k.meta.LoadMeta(ctx, peersName)
	if errors.Is(err, kv.ErrNotFound) {
		return nil, nil
	}
	return data, err
}

// Save implements membership.Keepsake.
func (k keepsake) Save(data []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), keepsakeTimeout)
	defer cancel()
	return k.meta.SaveMeta(ctx, peersName, data)
}
