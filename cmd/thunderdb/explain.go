package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/thunderdb/thunderdb/client"
)

func newExplainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain KEY",
		Short: "Say where a key lives and why",
		Example: `  thunderdb explain greeting
  thunderdb explain greeting -o json`,
		Args: cobra.ExactArgs(1),
	}
	asJSON := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := newClient(cmd, client.Options{})
		if err != nil {
			return err
		}
		defer c.Close()
		e, err := c.Explain(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if asJSON() {
			return writeJSON(cmd.OutOrStdout(), e)
		}
		return writeExplanation(cmd.OutOrStdout(), e)
	}
	return cmd
}

func writeExplanation(w io.Writer, e *client.Explanation) error {
	if _, err := fmt.Fprintf(w, "key %q is in partition %d, owned by %s under ring version %d\n\n",
		e.RawKey(), e.Partition, e.Owner, e.RingVersion); err != nil {
		return err
	}
	rows := [][]string{{"REPLICA", "HTTP", "ALIVE", "STATE", "VERSION"}}
	for _, r := range e.Replicas {
		alive := "no"
		if r.Alive {
			alive = "yes"
		}
		rows = append(rows, []string{r.Name, r.Addr, alive, r.State, dash(r.Version)})
	}
	return table(w, rows)
}

// dash stands in for a cell that would be empty.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
