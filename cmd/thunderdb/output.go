package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// choice is a flag that takes one of a few words.
type choice struct {
	value string
	words []string
}

// Set implements pflag.Value.
func (c *choice) Set(s string) error {
	for _, w := range c.words {
		if s == w {
			c.value = s
			return nil
		}
	}
	return fmt.Errorf("want one of %s", strings.Join(c.words, ", "))
}

// String implements pflag.Value.
func (c *choice) String() string { return c.value }

// Type implements pflag.Value: what help shows for the value.
func (c *choice) Type() string { return strings.Join(c.words, "|") }

// addOutput gives cmd the flag -o and returns whether JSON was asked for,
// known once the command runs.
func addOutput(cmd *cobra.Command) func() bool {
	c := &choice{value: "text", words: []string{"text", "json"}}
	cmd.Flags().VarP(c, "output", "o", "how to print results")
	return func() bool { return c.value == "json" }
}

// writeJSON prints doc as indented JSON.
func writeJSON(w io.Writer, doc any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(doc)
}

// table prints rows of cells in columns as wide as their widest cell.
func table(w io.Writer, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		// A tabwriter keeps its first error, and Flush returns it.
		_, _ = fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	return tw.Flush()
}
