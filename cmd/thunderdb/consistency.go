package main

import (
	"github.com/spf13/cobra"

	"github.com/thunderdb/thunderdb/client"
)

// addConsistency gives cmd the flag --consistency and returns the options of
// requests that it asks for, known once the command runs.
func addConsistency(cmd *cobra.Command) func() []client.Option {
	c := &choice{words: []string{string(client.One), string(client.Quorum), string(client.All)}}
	cmd.Flags().Var(c, "consistency",
		"how many replicas must take part: one, which promises no freshness, a quorum, or all (default: the cluster's, a quorum)")
	return func() []client.Option {
		if c.value == "" {
			return nil
		}
		return []client.Option{client.WithConsistency(client.Consistency(c.value))}
	}
}
