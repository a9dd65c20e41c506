package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/thunderdb/thunderdb/client"
)

func newImportCommand() *cobra.Command {
	format := &choice{words: []string{"text", "csv", "ndjson"}}
	cmd := &cobra.Command{
		Use:   "import FILE or -",
		Short: "Load records in bulk from a file, or - for standard input",
		Long: `Import loads records in bulk, without holding the file in memory. The format is
that of --format, or else what the name says: .csv for CSV, .ndjson and .jsonl
for a JSON object a line, and for anything else text: a line each, the key and
the value separated by the first space. Behind it, .gz and .zst are unpacked.

Bad lines go to standard error by their number, and the rest goes on. The exit
code is 1 when there were any.`,
		Example: `  thunderdb import pairs.txt
  thunderdb import users.csv.zst
  thunderdb export --addr old:8080 | thunderdb import - --format ndjson`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().Var(format, "format", "format of the records (default: by the file's name)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := newClient(cmd, client.Options{})
		if err != nil {
			return err
		}
		defer c.Close()
		in, err := openInput(args[0], format.value, cmd.InOrStdin())
		if err != nil {
			return err
		}
		began := time.Now()
		totals, err := importFrom(cmd.Context(), c, in, cmd.ErrOrStderr())
		err = errors.Join(err, in.Close())
		return reportImport(cmd.OutOrStdout(), totals, time.Since(began), err)
	}
	return cmd
}

// importFrom loads in, showing bad lines and the progress on stderr.
func importFrom(ctx context.Context, c *client.Client, in *input, stderr io.Writer) (client.BulkLine, error) {
	// The bar measures the file, for only of that the end is known.
	bar := newProgress(stderr, in.size)
	totals, err := c.Import(ctx, in.format, in, func(l client.BulkLine) {
		switch {
		case l.Line > 0:
			bar.message(fmt.Sprintf("line %d: %s", l.Line, l.Error))
		case l.Error != "":
			bar.message(l.Error)
		default:
			bar.update(in.read.Load(), l.Stored, l.Failed)
		}
	})
	bar.finish()
	return totals, err
}

// reportImport prints what was loaded, and returns err, or an error where not
// all of it was stored.
func reportImport(stdout io.Writer, totals client.BulkLine, took time.Duration, err error) error {
	if err != nil && totals.Read == 0 {
		return err // it has not begun
	}
	if _, printErr := fmt.Fprintf(stdout, "%d read, %d stored, %d failed in %.2f s, %s records/s\n",
		totals.Read, totals.Stored, totals.Failed, took.Seconds(), perSecond(totals.Stored, took)); printErr != nil {
		return errors.Join(err, printErr)
	}
	if err == nil && totals.Failed > 0 {
		return fmt.Errorf("%d of %d records were not stored", totals.Failed, totals.Read)
	}
	return err
}
