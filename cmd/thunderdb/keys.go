package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/thunderdb/thunderdb/client"
)

func newKeysCommand() *cobra.Command {
	var sorted bool
	cmd := &cobra.Command{
		Use:   "keys [PREFIX]",
		Short: "List keys, one a line",
		Long: `Keys lists the cluster's keys that begin with PREFIX, one a line, as they come
in. A key is written byte for byte; use -o json where keys may contain line
breaks.`,
		Example: `  thunderdb keys
  thunderdb keys session/ --sort
  thunderdb keys images/ -o json | jq -s 'map(.size) | add'`,
		Args: cobra.MaximumNArgs(1),
	}
	asJSON := addOutput(cmd)
	cmd.Flags().BoolVar(&sorted, "sort", false, "sort the keys by their bytes, holding all of them in memory")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := newClient(cmd, client.Options{})
		if err != nil {
			return err
		}
		defer c.Close()
		// The other commands' outputs are small: only this one needs a buffer.
		out := bufio.NewWriter(cmd.OutOrStdout())
		keys := c.Keys(cmd.Context(), prefixOf(args))
		if sorted {
			keys = sortKeys(keys)
		}
		return errors.Join(printKeys(keys, keyPrinter(out, asJSON())), out.Flush())
	}
	return cmd
}

// printKeys prints keys until the first error.
func printKeys(keys iter.Seq2[client.KeyInfo, error], emit func(*client.KeyInfo) error) error {
	for k, err := range keys {
		if err != nil {
			return err
		}
		if err := emit(&k); err != nil {
			return err
		}
	}
	return nil
}

// sortKeys gives keys by their bytes, or the error that ended them alone.
func sortKeys(keys iter.Seq2[client.KeyInfo, error]) iter.Seq2[client.KeyInfo, error] {
	return func(yield func(client.KeyInfo, error) bool) {
		var all []client.KeyInfo
		for k, err := range keys {
			if err != nil {
				yield(client.KeyInfo{}, err)
				return
			}
			all = append(all, k)
		}
		slices.SortFunc(all, func(a, b client.KeyInfo) int { return strings.Compare(a.RawKey(), b.RawKey()) })
		for _, k := range all {
			if !yield(k, nil) {
				return
			}
		}
	}
}

func keyPrinter(w io.Writer, asJSON bool) func(*client.KeyInfo) error {
	if asJSON {
		enc := json.NewEncoder(w)
		return func(k *client.KeyInfo) error { return enc.Encode(k) }
	}
	return func(k *client.KeyInfo) error {
		_, err := io.WriteString(w, k.RawKey()+"\n")
		return err
	}
}

// prefixOf returns the optional argument PREFIX.
func prefixOf(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
