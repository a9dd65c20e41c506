package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/thunderdb/thunderdb/client"
)

// workload is what bench does.
type workload struct {
	readRatio   float64
	valueSize   int // bytes
	keys        int
	zipf        float64 // 0 for uniform, else above 1
	duration    time.Duration
	concurrency int
}

func newBenchCommand() *cobra.Command {
	var w workload
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure throughput and latency under load",
		Long: `Bench first stores --keys keys, bench:000000000000 and on, and leaves them
there. Then --concurrency clients at once read and write them at random for
--duration, each sending its next request when the last is answered. A request
that fails is counted and not sent again; a read that finds nothing is counted
as a miss. Interrupt it, and it prints what it has measured so far.`,
		Example: `  thunderdb bench
  thunderdb bench --read-ratio 0.5 --value-size 1024 --zipf 1.1 --duration 1m
  thunderdb bench --addr 10.0.0.7:8080,10.0.0.8:8080 -o json`,
		Args: cobra.NoArgs,
	}
	asJSON := addOutput(cmd)
	flags := cmd.Flags()
	flags.Float64Var(&w.readRatio, "read-ratio", 0.9, "share of reads among the requests, 0 to 1")
	flags.IntVar(&w.valueSize, "value-size", 100, "size of a value in `bytes`")
	flags.IntVar(&w.keys, "keys", 100_000, "how many keys there are")
	flags.Float64Var(&w.zipf, "zipf", 0, "exponent of a Zipf distribution of the keys, above 1; 0 is uniform")
	flags.DurationVar(&w.duration, "duration", 10*time.Second, "how long to measure")
	flags.IntVar(&w.concurrency, "concurrency", 64, "how many requests are under way at once")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := w.validate(); err != nil {
			return usageError{err}
		}
		// One try each: a repetition would hide an error in a latency.
		c, err := newClient(cmd, client.Options{Tries: 1})
		if err != nil {
			return err
		}
		defer c.Close()
		ctx := cmd.Context()
		if err := w.load(ctx, c); err != nil {
			return fmt.Errorf("load the keys: %w", err)
		}
		m := newMeasurement()
		w.run(ctx, c, m, newLiveLine(cmd.ErrOrStderr()))
		return m.report(cmd.OutOrStdout(), asJSON())
	}
	return cmd
}

func (w *workload) validate() error {
	switch {
	case w.readRatio < 0 || w.readRatio > 1:
		return fmt.Errorf("--read-ratio %g: must be 0 to 1", w.readRatio)
	case w.valueSize < 0:
		return fmt.Errorf("--value-size %d: must not be negative", w.valueSize)
	case w.keys < 1:
		return fmt.Errorf("--keys %d: must be at least 1", w.keys)
	case w.zipf != 0 && w.zipf <= 1:
		return fmt.Errorf("--zipf %g: must be above 1, or 0", w.zipf)
	case w.duration <= 0:
		return fmt.Errorf("--duration %s: must be above 0", w.duration)
	case w.concurrency < 1:
		return fmt.Errorf("--concurrency %d: must be at least 1", w.concurrency)
	}
	return nil
}

// load stores every key of the workload, in bulk.
func (w *workload) load(ctx context.Context, c *client.Client) error {
	var first string // what was wrong with the first bad record
	records := &benchRecords{keys: w.keys, values: newValues(w.valueSize)}
	totals, err := c.Import(ctx, client.Text, records, func(l client.BulkLine) {
		if first == "" {
			first = l.Error
		}
	})
	if err != nil {
		return err
	}
	if totals.Failed > 0 {
		return fmt.Errorf("%d of %d were not stored: %s", totals.Failed, w.keys, first)
	}
	return nil
}
