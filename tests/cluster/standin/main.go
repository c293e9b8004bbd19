// Command standin takes a trainer's place in a pod and does what the last part of its assignment's address says.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	preempted = 68
	piece     = 16 << 20
)

func main() {
	act, argument, _ := strings.Cut(path.Base(os.Args[1]), "-")
	fmt.Println("begun")
	switch act {
	case "exit":
		code, _ := strconv.Atoi(argument)
		os.Exit(code)
	case "wait":
		told := make(chan os.Signal, 1)
		signal.Notify(told, syscall.SIGTERM)
		<-told
		fmt.Println("told to end")
		os.Exit(preempted)
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		time.Sleep(time.Hour)
	case "eat": // memory, without end
		var eaten [][]byte
		for {
			bite := make([]byte, piece)
			for at := 0; at < len(bite); at += 4096 {
				bite[at] = 1
			}
			eaten = append(eaten, bite)
		}
	case "fill": // the work folder, with so many MiB
		pieces, _ := strconv.Atoi(argument)
		file, _ := os.Create(os.Getenv("LORAMILL_TRAINER_WORK_DIR") + "/filling")
		for ; pieces > 0; pieces -= piece >> 20 {
			file.Write(make([]byte, piece))
		}
		time.Sleep(time.Hour)
	case "credentials": // shows them whenever they change
		shown := ""
		for {
			content, _ := os.ReadFile("/var/run/loramill/credentials/credentials.json")
			if string(content) != shown {
				shown = string(content)
				fmt.Println(shown)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}
