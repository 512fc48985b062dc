using KeyVa.Tests.Client;
using Xunit;

namespace KeyVa.Tests.Cli;

/// <summary><c>keyva txn</c>, and transactions in the shell, against a real server.</summary>
public sealed class TransactionCommandTests : IAsyncLifetime
{
    private readonly string _directory = Directory.CreateTempSubdirectory("keyva-test").FullName;
    private TestServer _server = null!;

    public async Task InitializeAsync() => _server = await TestServer.StartAsync(new StoreOptions { Durability = Durability.Os, LockTimeout = TimeSpan.FromMinutes(1) });

    public async Task DisposeAsync()
    {
        await _server.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task AScriptIsOneTransaction()
    {
        await Expect(0, "done, version 1\n", "", "put stock/7 3\n", "txn");
        const string Script = """
            # takes one, once
            check stock/7 value 3
            check "order/9 x" absent
            put stock/7 2
            set "order/9 x" 'new one' ttl 1h
            get stock/7 none
            otherwise
            get stock/7
            del stock/7
            """;
        (int code, string output, string error) = await Run(Script, "txn");
        Assert.Equal((0, "keyva: no key 'none'\n"), (code, error));
        Assert.StartsWith("stock/7\t2\ndone, version ", output, StringComparison.Ordinal);
        (code, output, error) = await Run(Script, "txn", "-", "--json");
        Assert.Equal((0, ""), (code, error));
        Assert.Matches("^{\"succeeded\":false,\"version\":[0-9]+,\"records\":\\[{\"found\":true,\"key\":\"stock/7\",\"value\":\"2\",\"version\":[0-9]+,\"modified\":[0-9]+}\\]}\n$", output);
        await Expect(1, "", "keyva: no key 'stock/7'\n", "", "get", "stock/7");
        await Expect(4, "", "keyva: a condition does not hold; nothing was written\n", "check stock/7 present\nput a 1", "txn");
        (code, _, error) = await Run($"put b 1\nput big {new string('x', 1 << 20)}x", "txn");
        Assert.Equal(4, code);
        Assert.StartsWith("keyva: line 2: ", error, StringComparison.Ordinal);
        (code, output, _) = await Run("del-prefix order/\nput zz 1\ndel zz\nget zz\ndel-range a z", "txn");
        Assert.Equal(0, code);
        Assert.StartsWith("done, version ", output, StringComparison.Ordinal);
        await Expect(0, "", "", "", "scan");
    }

    [Theory]
    [InlineData("check a", "line 1: 'check a' is not understood; see 'keyva txn --help'")]
    [InlineData("\ncheck a soon", "line 2: a check ends with absent, present, version N or value V")]
    [InlineData("put a", "line 1: 'put a' is not understood; see 'keyva txn --help'")]
    [InlineData("put a \"b", "line 1: a double quote is not closed, or \\x is not followed by two digits 0-7 and 0-9 a-f")]
    [InlineData("otherwise\notherwise", "line 2: 'otherwise' is not understood; see 'keyva txn --help'")]
    public async Task AScriptThatIsWrongDoesNothing(string script, string error) =>
        await Expect(2, "", $"keyva: {error}\n", script, "txn");

    [Fact]
    public async Task TheShellRunsCommandsInATransaction()
    {
        const string Script = """
            mset a 1 b 2 c 3
            begin --name demo --isolation repeatable-read
            set a 10
            del b none
            savepoint
            del --prefix c
            scan
            rollback-to 1
            mget a c
            get a --json
            commit
            scan
            begin
            set x 1
            rollback
            begin --read-only
            commit
            scan --keys-only
            """;
        (int code, string output, string error) = await Run(Script, "shell");
        Assert.Equal("keyva: no key 'none'\n", error);
        Assert.Equal(1, code);
        string[] lines = output.Split('\n');
        Assert.Equal("version 1", lines[0]);
        Assert.StartsWith("transaction ", lines[1], StringComparison.Ordinal);
        Assert.Equal(["written, to be committed", "removed 1 of 2", "savepoint 1", "removed the range, to be committed", "a\t10", "back at savepoint 1", "a\t10", "c\t3"], lines[2..10]);
        Assert.StartsWith("{\"key\":\"a\",\"value\":\"10\",\"version\":0", lines[10], StringComparison.Ordinal);
        Assert.StartsWith("committed, version ", lines[11], StringComparison.Ordinal);
        Assert.Equal(["a\t10", "c\t3"], lines[12..14]);
        Assert.Equal(["written, to be committed", "rolled back"], lines[15..17]);
        Assert.Equal(["committed, nothing was written", "a", "c", ""], lines[18..]);
    }

    [Fact]
    public async Task MergesGoWithTransactions()
    {
        const string Script = """
            mset n 1 tags '["a"]'
            begin
            incr n 4
            merge tags set-union '["b"]'
            incr n --json
            mget n
            commit
            mget n tags
            """;
        (int code, string output, string error) = await Run(Script, "shell");
        Assert.Equal((0, ""), (code, error));
        string[] lines = output.Split('\n');
        Assert.Equal(["merged, to be committed", "merged, to be committed", "{\"version\":0}", "n\t6"], lines[2..6]);
        Assert.Equal(["n\t6", "tags\t[\"a\",\"b\"]", ""], lines[7..]);
        (code, output, error) = await Run("incr n\nincr n -3\nmerge n max 2\nget n\notherwise\nincr n", "txn");
        Assert.Equal((0, ""), (code, error));
        Assert.StartsWith("n\t4\ndone, version ", output, StringComparison.Ordinal);
        (code, _, error) = await Run("put x 1\nincr tags", "txn");
        Assert.Equal(4, code);
        Assert.Contains("'tags': increment: ", error, StringComparison.Ordinal);
        await Expect(1, "", "keyva: no key 'x'\n", "", "get", "x");
        (code, _, error) = await Run("merge n plus 1", "txn");
        Assert.Equal(2, code);
        Assert.StartsWith("keyva: line 1: no merge function 'plus'; there are: increment, ", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AnOperatorListsTransactionsAndEndsOne()
    {
        await Expect(0, "", "keyva: no transaction is under way\n", "", "admin", "transactions");
        using Transaction one = _server.Server.Store.Begin(new TransactionOptions { Name = "demo", Concurrency = Concurrency.Pessimistic });
        one.Put("a"u8, "1"u8);
        (int code, string output, string error) = await Run("", "admin", "transactions", "--locks", "5");
        Assert.Equal((0, ""), (code, error));
        string[] lines = output.Split('\n');
        Assert.Equal(["NUMBER", "NAME", "AGE", "LEFT", "ISOLATION", "CONTROL", "KEYS", "BYTES", "LOCKS", "WAITS", "FOR", "BLOCKED", "BY"], lines[0].Split(' ', StringSplitOptions.RemoveEmptyEntries));
        Assert.Matches($"^ *{one.Number} +demo +[0-9.]+s +[0-9.]+s +serializable +pessimistic +1 +[0-9]+ +1 *$", lines[1]);
        Assert.Equal($"{one.Number} holds 'a' exclusive", lines[2]);
        (code, output, _) = await Run("", "admin", "transactions", "--json");
        Assert.Equal(0, code);
        Assert.StartsWith($"{{\"number\":{one.Number},\"name\":\"demo\",\"ageMs\":", output, StringComparison.Ordinal);
        Assert.EndsWith("\"locksHeld\":1,\"locks\":[{\"key\":\"a\",\"exclusive\":true}]}\n", output, StringComparison.Ordinal);
        await Expect(0, $"ended transaction {one.Number}\n", "", "", "admin", "transactions", "end", $"{one.Number}");
        Assert.Equal(Status.Expired, one.Commit().Status);
        (code, _, error) = await Run("", "admin", "transactions", "end", $"{one.Number}");
        Assert.NotEqual(0, code);
        Assert.StartsWith($"keyva: there is no transaction {one.Number} under way; ", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AConflictAndAnExpiryAreToldClearly()
    {
        // What 'txn' does in the shell is a transaction of its own.
        string other = Path.Combine(_directory, "other");
        await File.WriteAllTextAsync(other, "put k other\n");
        (int code, _, string error) = await Run($"set k 1\nbegin\nget k\nset m 1\ntxn {other}\ncommit\n", "shell");
        Assert.Equal(4, code);
        Assert.Matches(
            "^keyva: conflict: another has changed 'k' to version [0-9]+, which the transaction has read or written; nothing of the transaction has happened\n"
            + "keyva: stopped at line 6 of the script; --keep-going goes on\n$", error);
        (code, _, error) = await Run($"begin --pessimistic --time-limit 3s\nset k 1\ntxn {other}\nset k 2\n", "shell");
        Assert.Equal(4, code);
        Assert.Equal(
            "keyva: the transaction's time limit passed, and it was rolled back\n"
            + "keyva: the transaction is over, nothing of it has happened; 'begin' starts another one\n"
            + "keyva: stopped at line 4 of the script; --keep-going goes on\n", error);
        await Expect(0, "other", "", "", "get", "k");
    }

    [Fact]
    public async Task ATransactionLeftOpenIsRolledBackAndMisuseIsTold()
    {
        (int code, _, string error) = await Run("begin\nset k 1\n", "shell");
        Assert.Equal((4, "keyva: the transaction was not committed: rolled back\n"), (code, error));
        await Expect(1, "", "keyva: no key 'k'\n", "", "get", "k");
        await Expect(2, "", "keyva: a transaction of several commands needs the shell: 'keyva shell'. One of one command: 'keyva txn'\n", "", "begin");
        await Expect(2, "", "keyva: no transaction is under way; 'begin' in the shell starts one\n", "", "commit");
        (code, _, error) = await Run("begin\nrollback-to 3\n", "shell");
        Assert.Equal(4, code);
        Assert.StartsWith("keyva: the transaction has no savepoint 3; they count from 1, and 0 is its beginning\n", error, StringComparison.Ordinal);
        (_, _, error) = await Run("begin\nbegin\n", "shell");
        Assert.Contains("is under way; 'commit' or 'rollback' ends it\n", error, StringComparison.Ordinal);
        Assert.Equal(0, _server.Server.Store.GetStatistics().LiveTransactions);
    }

    private async Task Expect(int code, string output, string error, string input, params string[] arguments) =>
        Assert.Equal((code, output, error), await Run(input, arguments));

    private Task<(int Code, string Output, string Error)> Run(string input, params string[] arguments) => CommandLine.RunAsync(_server, input, arguments);
}
