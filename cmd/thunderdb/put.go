package main

import (
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/thunderdb/thunderdb/client"
)

func newPutCommand() *cobra.Command {
	var ttl time.Duration
	var contentType string
	var consistency func() []client.Option
	cmd := &cobra.Command{
		Use:   "put KEY [VALUE or - or @FILE]",
		Short: "Store a value under a key",
		Long: `Put stores VALUE under KEY, or the contents of FILE, or with - or nothing
what it reads from standard input, byte for byte.

A VALUE that begins with - stands behind --, as in: put -- KEY -1.

Without --content-type, text (UTF-8) is stored as text/plain and anything else
as application/octet-stream.`,
		Example: `  thunderdb put greeting 'good morning'
  thunderdb put session/42 --ttl 30m < session.json
  thunderdb put images/logo.png @logo.png --content-type image/png`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if ttl < 0 || ttl == 0 && cmd.Flags().Changed("ttl") {
				return usageError{fmt.Errorf("--ttl %s: must be above 0", ttl)}
			}
			value, err := putValue(args[1:], cmd.InOrStdin())
			if err != nil {
				return err
			}
			if contentType == "" {
				contentType = guessType(value)
			}
			opts := append(consistency(), client.ContentType(contentType))
			if ttl > 0 {
				opts = append(opts, client.TTL(ttl))
			}
			c, err := newClient(cmd, client.Options{})
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.Put(cmd.Context(), args[0], value, opts...)
			return err
		},
	}
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "make the key expire after this `duration`, such as 90s or 12h")
	cmd.Flags().StringVar(&contentType, "content-type", "", "media type that the value is stored with")
	consistency = addConsistency(cmd)
	return cmd
}

// putValue returns the value that args, one or none, stand for.
func putValue(args []string, stdin io.Reader) ([]byte, error) {
	if len(args) == 0 || args[0] == "-" {
		value, err := io.ReadAll(stdin)
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return value, nil
	}
	if arg := args[0]; len(arg) > 0 && arg[0] == '@' {
		return os.ReadFile(arg[1:])
	}
	return []byte(args[0]), nil
}

// guessType returns the media type of value by the rule of bulk loads.
func guessType(value []byte) string {
	if utf8.Valid(value) {
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}
