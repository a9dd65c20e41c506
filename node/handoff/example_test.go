package handoff_test

import (
	"context"
	"fmt"
	"log"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/handoff"
)

func ExampleLog_Replay() {
	hints, err := handoff.Open(handoff.Config{}) // in memory only
	if err != nil {
		log.Fatal(err)
	}
	const target = 42
	hints.Add(target, 7, []byte("apple"), kv.Version{Time: 1})
	hints.Add(target, 8, []byte("pear"), kv.Version{Time: 2})
	hints.Add(target, 7, []byte("apple"), kv.Version{Time: 3})
	err = hints.Replay(context.Background(), target, func(_ context.Context, batch []handoff.Hint) ([]bool, error) {
		for _, h := range batch {
			fmt.Printf("partition %d: %s at %d\n", h.Partition, h.Key, h.Version.Time)
		}
		return []bool{true, false}, nil
	})
	fmt.Println(err, hints.Pending(target))
	// Output:
	// partition 8: pear at 2
	// partition 7: apple at 3
	// <nil> 1
}
