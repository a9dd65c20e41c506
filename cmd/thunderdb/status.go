package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/thunderdb/thunderdb/client"
)

func newStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the members, what is moving, and what lacks replicas",
		Long: `Status shows the cluster as one node sees it. With -o json it prints the node's
document of /v1/cluster as it came.`,
		Example: `  thunderdb status
  thunderdb status -o json | jq .settled`,
		Args: cobra.NoArgs,
	}
	asJSON := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := newClient(cmd, client.Options{})
		if err != nil {
			return err
		}
		defer c.Close()
		doc, err := c.Document(cmd.Context(), "/v1/cluster")
		if err != nil {
			return err
		}
		if asJSON() {
			_, err := cmd.OutOrStdout().Write(doc)
			return err
		}
		var state client.Cluster
		if err := json.Unmarshal(doc, &state); err != nil {
			return fmt.Errorf("decode /v1/cluster: %w", err)
		}
		return writeStatus(cmd.OutOrStdout(), &state)
	}
	return cmd
}

func writeStatus(w io.Writer, s *client.Cluster) error {
	settled := "settled"
	if !s.Settled {
		settled = "not settled"
	}
	lines := []string{fmt.Sprintf("cluster %s, ring version %d, %s", s.Name, s.RingVersion, settled)}
	if s.Change != nil {
		lines = append(lines, changing(s.Change))
	}
	if s.UnderReplicated > 0 {
		lines = append(lines, fmt.Sprintf("%d partitions lack replicas", s.UnderReplicated))
	}
	if s.Hints > 0 {
		lines = append(lines, fmt.Sprintf("%d entries are kept in mind for members that have missed them", s.Hints))
	}
	if s.LastRepair != nil {
		lines = append(lines, "last found the same as on the other replicas at "+s.LastRepair.Format(time.RFC3339))
	}
	if _, err := fmt.Fprintf(w, "%s\n\n", strings.Join(lines, "\n")); err != nil {
		return err
	}
	rows := [][]string{{"NAME", "STATUS", "HTTP", "PARTITIONS", "KEYS", "BYTES", "WEIGHT", "ZONE", "VERSION"}}
	for _, m := range s.Members {
		rows = append(rows, []string{
			m.Name, m.Status, m.HTTP, strconv.Itoa(m.Partitions), humanize.Comma(m.Keys),
			bytesOf(m.Bytes), strconv.Itoa(m.Weight), dash(m.Zone), dash(m.Version),
		})
	}
	return table(w, rows)
}

// changing says in words how far a change of the ring is.
func changing(c *client.Change) string {
	text := fmt.Sprintf("changing to ring version %d", c.To)
	if c.BytesToMove > 0 {
		text += fmt.Sprintf(": %s of %s moved", bytesOf(c.BytesMoved), bytesOf(c.BytesToMove))
	}
	if len(c.WaitingFor) > 0 {
		text += ", waiting for " + strings.Join(c.WaitingFor, ", ")
	}
	return text
}

// bytesOf returns n bytes in words, such as 1.5 MiB.
func bytesOf(n int64) string { return humanize.IBytes(uint64(max(0, n))) }
