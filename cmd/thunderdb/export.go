package main

import (
	"bytes"
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/thunderdb/thunderdb/client"
)

func newExportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "export [PREFIX]",
		Short: "Write records to standard output as NDJSON, which import takes back",
		Long: `Export writes the cluster's records whose keys begin with PREFIX, one JSON
object a line, content type and expiry included. When it fails under way, its
exit code is 1 and what it wrote is not complete.`,
		Example: `  thunderdb export > backup.ndjson
  thunderdb export session/ | zstd > sessions.ndjson.zst`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient(cmd, client.Options{})
			if err != nil {
				return err
			}
			defer c.Close()
			return export(cmd.Context(), c, prefixOf(args), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
}

// export writes the records to out, showing the progress on stderr unless it
// would run into what out shows.
func export(ctx context.Context, c *client.Client, prefix string, out, stderr io.Writer) error {
	if isTerminal(out) || !isTerminal(stderr) {
		return c.ExportTo(ctx, prefix, out)
	}
	bar := newProgress(stderr, expected(ctx, c, prefix))
	defer bar.finish()
	return c.ExportTo(ctx, prefix, &lineCounter{w: out, bar: bar})
}

// expected returns how many records an export will have, about, or -1 where
// that is not known.
func expected(ctx context.Context, c *client.Client, prefix string) int64 {
	if prefix != "" {
		return -1
	}
	// Who cannot say how much there is may still give it.
	state, err := c.Cluster(ctx)
	if err != nil {
		return -1
	}
	ring, err := c.Ring(ctx)
	if err != nil {
		return -1
	}
	var held int64
	for _, m := range state.Members {
		held += m.Keys
	}
	return max(1, held/int64(max(1, min(ring.Replicas, len(ring.Members)))))
}

// lineCounter writes to w, showing on bar how many lines there were.
type lineCounter struct {
	w     io.Writer
	bar   *progress
	lines int64
}

// Write implements io.Writer.
func (l *lineCounter) Write(p []byte) (int, error) {
	n, err := l.w.Write(p)
	l.lines += int64(bytes.Count(p[:n], []byte("\n")))
	l.bar.update(l.lines, l.lines, 0)
	return n, err
}
