package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/thunderdb/thunderdb/client"
)

func newHealthCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "health",
		Short: "Tell by the exit code whether a node is ready",
		Long: `Health asks a node, once, whether it is ready to serve: it has joined, knows the
ring and has its store open. The exit code is 0 when it is; otherwise it is 1,
and the reasons are on standard error.`,
		Example: "  thunderdb health --addr 127.0.0.1:8080 && echo ready",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := newClient(cmd, client.Options{Timeout: 3 * time.Second})
			if err != nil {
				return err
			}
			defer c.Close()
			return c.Ready(cmd.Context())
		},
	}
}
