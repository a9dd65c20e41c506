package rediskv

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// inspect checks that the servers are what the URL says, and fit to keep
// entries.
func (s *Store) inspect(ctx context.Context) error {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return s.inspectServer(ctx, s.client)
	}
	if err := s.inspectMode(ctx, cluster); err != nil {
		return err
	}
	return cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		if err := s.inspectServer(ctx, node); err != nil {
			return fmt.Errorf("%s: %w", node.Options().Addr, err)
		}
		return nil
	})
}

// inspectMode asks the first host that answers whether it belongs to a
// Cluster: a client of one cannot say it clearly.
func (s *Store) inspectMode(ctx context.Context, cluster *redis.ClusterClient) error {
	var failed error
	for _, host := range s.target.hosts {
		o := cluster.Options()
		one := redis.NewClient(&redis.Options{
			Addr: host, Username: o.Username, Password: o.Password, Dialer: o.Dialer, Protocol: o.Protocol,
			DialTimeout: o.DialTimeout, DialerRetries: 1, MaxRetries: -1, ContextTimeoutEnabled: true,
			DisableIdentity: true, MaintNotificationsConfig: o.MaintNotificationsConfig,
		})
		err := s.inspectServer(ctx, one)
		_ = one.Close()
		if err == nil {
			return nil
		}
		failed = fmt.Errorf("%s: %w", host, err)
		if !passes(err) {
			return failed
		}
	}
	return failed
}

// inspectServer checks one server.
func (s *Store) inspectServer(ctx context.Context, client redis.Cmdable) error {
	pipe := client.Pipeline()
	info := pipe.Info(ctx, "server")
	policy := pipe.ConfigGet(ctx, "maxmemory-policy")
	_, _ = pipe.Exec(ctx) // each answer has its error
	if err := s.judgeInfo(info.Result()); err != nil {
		return err
	}
	return s.judgePolicy(policy.Result())
}

// judgeInfo judges what INFO says.
func (s *Store) judgeInfo(info string, err error) error {
	if redis.HasErrorPrefix(err, "NOPERM") {
		s.log.Warn("redis does not let this user see its version; it must be 7.0 or newer", "redis", s.target.String())
		return nil
	}
	if err != nil {
		return explainOpen(err)
	}
	facts := make(map[string]string)
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			facts[name] = value
		}
	}
	version := facts["redis_version"]
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err == nil && n < minVersion {
		return fmt.Errorf("it is Redis %s, and must be %d.0 or newer", version, minVersion)
	}
	switch cluster := facts["redis_mode"] == "cluster"; {
	case cluster && !s.target.cluster():
		return errors.New("it runs as part of a Redis Cluster: name two or more hosts of that, separated by commas")
	case !cluster && s.target.cluster():
		return errors.New("it is a server of its own and does not run in Cluster mode: name one host only")
	}
	return nil
}

// judgePolicy judges the server's maxmemory-policy.
func (s *Store) judgePolicy(config map[string]string, err error) error {
	if err != nil {
		var answer redis.Error
		if !errors.As(err, &answer) || passes(err) {
			return explainOpen(err)
		}
		s.log.Warn("redis does not tell its maxmemory-policy; it must not be one that evicts keys without an expiry",
			"redis", s.target.String(), "error", err)
		return nil
	}
	if policy := config["maxmemory-policy"]; strings.HasPrefix(policy, "allkeys-") {
		return fmt.Errorf("it would evict entries when its memory is full (maxmemory-policy %s): "+
			"set maxmemory-policy noeviction", policy)
	}
	return nil
}

// explainOpen says of an error what it means when a store is opened.
func explainOpen(err error) error {
	var answer redis.Error
	var held *heldError
	var certificate *tls.CertificateVerificationError
	for _, prefix := range [...]string{"NOAUTH", "WRONGPASS", "NOPERM"} {
		if redis.HasErrorPrefix(err, prefix) {
			return fmt.Errorf("it refuses this user: %w", err)
		}
	}
	if errors.As(err, &answer) || errors.As(err, &held) || errors.As(err, &certificate) || isNetwork(err) {
		return err
	}
	return fmt.Errorf("what answers does not speak the protocol of Redis: %w", err)
}
