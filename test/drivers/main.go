// What the drivers inside K3s make of an endpoint: one JSON object a line in, one out. Prepared as kine does it (pkg/drivers/pgsql,
// pkg/drivers/mysql), so that the property tests of src/k3s/endpoint-*.ts ask the parsers that count.
package main

import (
	"bufio"
	"encoding/json"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
)

type answer struct {
	Error    string `json:"error,omitempty"`
	User     string `json:"user"`
	Password string `json:"password"`
	Host     string `json:"host"`
	Port     int    `json:"port"`
	Database string `json:"database"`
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<20), 1<<20)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		var asked struct{ Endpoint string }
		if err := json.Unmarshal(in.Bytes(), &asked); err != nil {
			panic(err)
		}
		scheme, rest, _ := strings.Cut(asked.Endpoint, "://")
		if scheme == "mysql" {
			out.Encode(fromMysql(rest))
		} else {
			out.Encode(fromPostgres(asked.Endpoint))
		}
	}
}

func fromPostgres(endpoint string) answer {
	u, err := url.Parse(endpoint)
	if err != nil {
		return answer{Error: err.Error()}
	}
	// kine lower-cases the database's name.
	u.Path = strings.ToLower(u.Path)
	config, err := pgx.ParseConfig(u.String())
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{User: config.User, Password: config.Password, Host: config.Host, Port: int(config.Port), Database: config.Database}
}

func fromMysql(dsn string) answer {
	config, err := mysql.ParseDSN(dsn)
	if err == nil {
		// kine writes it out and reads it again.
		config, err = mysql.ParseDSN(config.FormatDSN())
	}
	if err != nil {
		return answer{Error: err.Error()}
	}
	host, port, err := net.SplitHostPort(config.Addr)
	if err != nil {
		return answer{Error: err.Error()}
	}
	number, _ := strconv.Atoi(port)
	return answer{User: config.User, Password: config.Passwd, Host: host, Port: number, Database: config.DBName}
}
