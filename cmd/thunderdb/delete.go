package main

import (
	"github.com/spf13/cobra"

	"github.com/thunderdb/thunderdb/client"
)

func newDeleteCommand() *cobra.Command {
	var consistency func() []client.Option
	cmd := &cobra.Command{
		Use:     "delete KEY",
		Short:   "Remove a key; it is no error if there is none",
		Example: "  thunderdb delete greeting",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient(cmd, client.Options{})
			if err != nil {
				return err
			}
			defer c.Close()
			return c.Delete(cmd.Context(), args[0], consistency()...)
		},
	}
	consistency = addConsistency(cmd)
	return cmd
}
