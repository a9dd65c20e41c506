package memcachekv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// settings is what a store wants to know of a server.
type settings struct {
	version string
	maxItem int  // bytes of the largest item, all included
	evicts  bool // false with -M
	cas     bool // false with -C
}

// errNotMemcached is wrapped by what a wrong answer means: asking again does
// not help.
var errNotMemcached = errors.New("this is no Memcached that a store can use")

// probe asks a server what it is, until ctx ends where it does not answer.
// memcache.Client has no such question.
func probe(ctx context.Context, addr string, timeout time.Duration) (settings, error) {
	var last error
	for {
		set, err := ask(ctx, addr, timeout)
		if err == nil || errors.Is(err, errNotMemcached) {
			return set, err
		}
		if timeout := net.Error(nil); last == nil || !errors.As(err, &timeout) || !timeout.Timeout() {
			last = err // which says more than that there was no more time
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return settings{}, last
		}
	}
}

func ask(ctx context.Context, addr string, timeout time.Duration) (settings, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return settings{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(longAgo) })()
	if _, err := conn.Write([]byte("version\r\nstats settings\r\n")); err != nil {
		return settings{}, err
	}
	set, err := readSettings(bufio.NewReaderSize(conn, 512))
	if err != nil {
		return settings{}, fmt.Errorf("ask for its version and settings: %w", err)
	}
	return set, nil
}

// readSettings reads the answers to version and stats settings.
func readSettings(r *bufio.Reader) (settings, error) {
	line, err := readLine(r)
	if err != nil {
		return settings{}, err
	}
	set := settings{evicts: true, cas: true}
	var ok bool
	switch set.version, ok = strings.CutPrefix(line, "VERSION "); {
	case ok:
	case strings.HasPrefix(line, "ERROR Too many"):
		return set, errors.New(line) // may pass
	case strings.HasPrefix(line, "CLIENT_ERROR unauthenticated"):
		return set, fmt.Errorf("%w: it asks for a password (-Y)", errNotMemcached)
	default:
		return set, fmt.Errorf("%w: it answers %.60q", errNotMemcached, line)
	}
	for {
		line, err := readLine(r)
		if err != nil {
			return set, err
		}
		if line == "END" {
			return set, set.check()
		}
		stat, ok := strings.CutPrefix(line, "STAT ")
		if !ok {
			return set, fmt.Errorf("%w: it does not tell its settings, but %.60q", errNotMemcached, line)
		}
		switch name, value, _ := strings.Cut(stat, " "); name {
		case "item_size_max":
			set.maxItem, _ = strconv.Atoi(value) // 0, which check refuses
		case "evictions":
			set.evicts = value != "off"
		case "cas_enabled":
			set.cas = value != "no"
		}
	}
}

func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", fmt.Errorf("%w: it answers %.60q", errNotMemcached, line)
	}
	return strings.TrimRight(string(line), "\r\n"), err
}

func (set settings) check() error {
	if !set.cas {
		return fmt.Errorf("%w: it was started without cas (-C)", errNotMemcached)
	}
	if set.maxItem < minItem {
		return fmt.Errorf("%w: its largest item is %d bytes, start it with -I %dk or more", errNotMemcached, set.maxItem, minItem>>10)
	}
	return nil
}
