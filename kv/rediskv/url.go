package rediskv

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// target is what a URL says.
type target struct {
	hosts          []string // each host:port; several mean a Cluster
	user, password string
	db             int
	tls            bool
}

// cluster reports whether the hosts are those of a Redis Cluster.
func (t *target) cluster() bool { return len(t.hosts) > 1 }

// String names the hosts. It has no password in it.
func (t *target) String() string { return strings.Join(t.hosts, ",") }

// Check reports what is wrong with a URL, without contacting anyone. The form
// is redis://[user:password@]host:port[,host:port...][/db], or rediss: for
// TLS; several hosts mean a Redis Cluster, which has no db but 0.
func Check(url string) error {
	_, err := parseURL(url)
	return err
}

// parseURL takes a URL apart. It does not use [url.Parse], whose errors quote
// what may be a password, and which takes one host only.
func parseURL(text string) (*target, error) {
	t := &target{}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || scheme != "redis" && scheme != "rediss" {
		return nil, errors.New("redis URL: it does not begin with redis:// or rediss://")
	}
	t.tls = scheme == "rediss"
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		if err := t.setUser(rest[:at]); err != nil {
			return nil, err
		}
		rest = rest[at+1:]
	}
	if strings.ContainsAny(rest, "?#") {
		return nil, errors.New("redis URL: it has parameters, which are not supported")
	}
	hosts, db, _ := strings.Cut(rest, "/")
	for _, host := range strings.Split(hosts, ",") {
		if err := checkHost(host); err != nil {
			return nil, err
		}
		t.hosts = append(t.hosts, host)
	}
	return t, t.setDB(db)
}

func (t *target) setUser(userinfo string) error {
	user, password, ok := strings.Cut(userinfo, ":")
	if !ok {
		return errors.New("redis URL: a user without a password (want user:password@, or :password@)")
	}
	var err1, err2 error
	t.user, err1 = url.PathUnescape(user)
	t.password, err2 = url.PathUnescape(password)
	if err1 != nil || err2 != nil { // they quote what they do not like
		return errors.New("redis URL: a % in user or password that is no escape (write %25 for a percent sign)")
	}
	return nil
}

func checkHost(text string) error {
	if text == "" {
		return errors.New("redis URL: a host is missing (want host:port)")
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" {
		return fmt.Errorf("redis URL: host %q: want host:port, such as localhost:6379", text)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("redis URL: host %q: the port is not a number from 1 to 65535", text)
	}
	return nil
}

func (t *target) setDB(db string) error {
	if db == "" {
		return nil
	}
	n, err := strconv.ParseUint(db, 10, 31)
	if err != nil {
		return fmt.Errorf("redis URL: database %q is not a number", db)
	}
	if t.cluster() && n != 0 {
		return fmt.Errorf("redis URL: several hosts mean a Redis Cluster, which has no database %d, only 0", n)
	}
	t.db = int(n)
	return nil
}
