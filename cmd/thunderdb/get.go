package main

import (
	"github.com/spf13/cobra"

	"github.com/thunderdb/thunderdb/client"
)

func newGetCommand() *cobra.Command {
	var consistency func() []client.Option
	cmd := &cobra.Command{
		Use:   "get KEY",
		Short: "Write a key's value to standard output, byte for byte",
		Example: `  thunderdb get greeting
  thunderdb get images/logo.png > logo.png`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient(cmd, client.Options{})
			if err != nil {
				return err
			}
			defer c.Close()
			item, err := c.Get(cmd.Context(), args[0], consistency()...)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(item.Value)
			return err
		},
	}
	consistency = addConsistency(cmd)
	return cmd
}
