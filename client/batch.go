package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// GetOp returns the batch operation that reads key.
func GetOp(key string) BatchOp { return keyOp("get", key) }

// DeleteOp returns the batch operation that removes key.
func DeleteOp(key string) BatchOp { return keyOp("delete", key) }

// PutOp returns the batch operation that stores value under key. ContentType
// and TTL may be set on it.
func PutOp(key string, value []byte) BatchOp {
	op := keyOp("put", key)
	op.Value, op.ValueB64 = encode(string(value))
	return op
}

func keyOp(verb, key string) BatchOp {
	op := BatchOp{Op: verb}
	op.Key, op.KeyB64 = encode(key)
	return op
}

// RawKey returns the key, which may hold any bytes.
func (r *BatchResult) RawKey() string { return decode(r.Key, r.KeyB64) }

// RawValue returns the value that a get found.
func (r *BatchResult) RawValue() []byte { return []byte(decode(r.Value, r.ValueB64)) }

// Err returns nil where the operation was done, else the error that it would
// have had alone. A write that a node did not answer for is [ErrUnclear]: a
// batch does not tell which of those were certainly not done.
func (r *BatchResult) Err() error {
	if r.Status < 300 {
		return nil
	}
	p := &Problem{Title: title(r.Status), Status: r.Status, Detail: r.Error}
	for _, c := range Codes() {
		if c.Status == r.Status {
			p.Code, p.Retryable = c.Name, c.Retryable
			break
		}
	}
	var err error = p
	if r.Op != "get" && (errors.Is(p, ErrInternal) || errors.Is(p, ErrUnavailable) || errors.Is(p, ErrTimeout)) {
		err = fmt.Errorf("%w: %w", ErrUnclear, p)
	}
	return fmt.Errorf("%s %q: %w", r.Op, r.RawKey(), err)
}

// Batch carries out ops, in one request but not as one: each result, at the
// place of its operation, has a status of its own. The error is nil whenever
// the batch as a whole was taken. opts may ask for a consistency, which is
// that of each operation.
func (c *Client) Batch(ctx context.Context, ops []BatchOp, opts ...Option) ([]BatchResult, error) {
	body, err := json.Marshal(ops)
	if err != nil {
		return nil, fmt.Errorf("batch: encode: %w", err)
	}
	r := &request{method: http.MethodPost, path: "/v1/batch", body: body}
	for _, opt := range append(opts[:len(opts):len(opts)], header("Content-Type", "application/json")) {
		opt(r)
	}
	for i := range ops {
		r.write = r.write || ops[i].Op != "get"
	}
	var results []BatchResult
	err = c.send(ctx, r, func(resp *http.Response) error {
		answer, err := readBody(resp)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(answer, &results); err != nil {
			return fmt.Errorf("decode answer: %w", err)
		}
		if len(results) != len(ops) {
			return fmt.Errorf("%d results for %d operations", len(results), len(ops))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("batch: %w", err)
	}
	return results, nil
}
