package memcachekv

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

const scheme = "memcached://"

// Check reports what is wrong with a URL that is not of the form
// memcached://host:port[,host:port...]. It contacts nobody.
func Check(url string) error {
	_, err := parseURL(url)
	return err
}

// parseURL returns the addresses that a URL lists, in its order.
func parseURL(url string) ([]string, error) {
	list, ok := strings.CutPrefix(url, scheme)
	if !ok {
		return nil, fmt.Errorf("not a Memcached URL: want %shost:port[,host:port...]", scheme)
	}
	var addrs []string
	for addr := range strings.SplitSeq(list, ",") {
		if err := checkAddress(addr); err != nil {
			return nil, fmt.Errorf("%w; want %shost:port[,host:port...]", err, scheme) // the URL may have a password
		}
		if slices.Contains(addrs, addr) {
			return nil, fmt.Errorf("%s is listed twice", addr)
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

func checkAddress(addr string) error {
	if addr == "" {
		return fmt.Errorf("an address is missing")
	}
	if i := strings.IndexAny(addr, "/?#@ \t\r\n"); i >= 0 {
		return fmt.Errorf("%q has no meaning in an address", addr[i:i+1])
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err // names the address
	}
	if host == "" {
		return fmt.Errorf("address %s has no host", addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("address %s has no port from 1 to 65535", addr)
	}
	return nil
}
