using System.Text;
using System.Text.Json;
using KeyVa.Cli;
using KeyVa.Tests.Client;
using Xunit;

namespace KeyVa.Tests.Cli;

/// <summary>Command lines against a real server, in this process: what they print and how they end.</summary>
public sealed class CommandTests : IAsyncLifetime
{
    private readonly string _directory = Directory.CreateTempSubdirectory("keyva-test").FullName;
    private TestServer _server = null!;

    public async Task InitializeAsync() => _server = await TestServer.StartAsync(new StoreOptions { Durability = Durability.Os });

    public async Task DisposeAsync()
    {
        await _server.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task KeysAreWrittenReadAndRemoved()
    {
        await Expect(0, "version 1\n", "", "set", "greeting", "hello");
        await Expect(0, "hello", "", "get", "greeting");
        await Expect(1, "", "keyva: no key 'nothing'\n", "get", "nothing");
        await Expect(0, "version 2\n", "", "mset", "a", "1", "b", "2", "c", "3");
        await Expect(0, "a\t1\nc\t3\n", "", "mget", "a", "c");
        await Expect(1, "a\t1\n", "keyva: no keys 'x', 'y'\n", "mget", "a", "x", "y");
        await Expect(1, "removed 1 of 2\n", "keyva: no key 'x'\n", "del", "a", "x");
        await Expect(0, "removed\n", "", "del", "b");
        await Expect(0, "c\t3\ngreeting\thello\n", "", "scan");
        await Expect(0, "greeting\nc\n", "", "scan", "--reverse", "--keys-only");
        await Expect(0, "greeting\thello\n", "", "scan", "--prefix", "gr");
        await Expect(0, "c\t3\n", "", "scan", "--limit", "1", "--from", "b", "--to", "z");
        await Expect(2, "", "keyva: the last key 'b' has no value; write KEY VALUE KEY VALUE …\n", "mset", "a", "1", "b");
    }

    [Fact]
    public async Task CountersRiseAndValuesAreMerged()
    {
        await Expect(0, "1\n", "", "incr", "n");
        await Expect(0, "-4\n", "", "incr", "n", "-5");
        await Expect(0, "6\n", "", "incr", "n", "10", "--ttl", "1h");
        await Expect(0, "ab\n", "", "merge", "log", "append", "ab");
        await Expect(0, "{\"value\":\"abc\",\"version\":5}\n", "", "merge", "log", "append", "c", "--json");
        await Expect(0, "[1,\"a\"]\n", "", "merge", "set", "set-union", "[1,\"a\",1]");
        await Expect(4, "", "keyva: increment: the key's value is no whole number of 64 bits in decimal, but 'abc'\n", "incr", "log");
        await Expect(4, "", null, "merge", "log", "append", "x", "--if-absent");
        await Expect(2, "", "keyva: no merge function 'add'; there are: increment, increment-float, append, min, max, json-merge-patch, set-union\n", "merge", "n", "add", "1");
        await Expect(2, "", null, "incr", "n", "many");
        await Expect(2, "", null, "merge", "n", "max");
        await Expect(0, "abc", "", "get", "log");
    }

    [Fact]
    public async Task ASortedImportIsAllOrNothing()
    {
        string file = Path.Combine(_directory, "sorted.jsonl");
        string[] lines = [.. Enumerable.Range(0, 9000).Select(static i => $"{{\"key\":\"k{i:00000}\",\"value\":\"v{i}\"}}")];
        await File.WriteAllLinesAsync(file, lines);
        (int code, byte[] output, _, _) = await Run([], "import", file, "--sorted", "-q");
        Assert.Equal(0, code);
        Assert.StartsWith("imported 9,000 records", Encoding.UTF8.GetString(output), StringComparison.Ordinal);
        await Expect(0, "v8999", "", "get", "k08999");
        await Expect(2, "", null, "import", file, "--sorted", "--resume", "-q");
        string unsorted = Path.Combine(_directory, "unsorted.jsonl");
        await File.WriteAllLinesAsync(unsorted, [.. lines.Select(static line => line.Replace("k0", "x0", StringComparison.Ordinal)), lines[0]]);
        (code, _, string error, _) = await Run([], "import", unsorted, "--sorted", "-q");
        Assert.Equal(2, code);
        Assert.Contains("unsorted.jsonl:9001: the key 'k00000' does not come behind the one before it", error, StringComparison.Ordinal);
        await Expect(1, "", null, "get", "x00000");
    }

    [Fact]
    public async Task RangesAreRemoved()
    {
        await Expect(0, "version 1\n", "", "mset", "a", "1", "b1", "2", "b2", "3", "c", "4", "d", "5");
        await Expect(0, "removed the range, version 2\n", "", "del", "--prefix", "b");
        await Expect(0, "a\nc\nd\n", "", "scan", "--keys-only");
        await Expect(0, "{\"version\":3}\n", "", "del", "--from", "c", "--to", "d", "--json");
        await Expect(0, "a\nd\n", "", "scan", "--keys-only");
        await Expect(2, "", "keyva: keys and --if-version do not go with a range\n", "del", "a", "--prefix", "b");
        await Expect(2, "", "keyva: the range is empty: --from is not before --to\n", "del", "--from", "c", "--to", "b");
        string none = "keyva: give --prefix, or --from and --to (one of them may be left out), or --all; none of them empty\n";
        await Expect(2, "", none, "del", "--prefix", "");
        await Expect(2, "", none, "del", "--prefix", "a", "--all");
        await Expect(2, "", "keyva: no keys: write them behind the command, or give a range with --prefix, --from and --to, or --all\n", "del");
        await Expect(0, "a\nd\n", "", "scan", "--keys-only");
        await Expect(0, "removed the range, version 4\n", "", "del", "--all");
        await Expect(0, "", "", "scan");
    }

    [Fact]
    public async Task AScrubSaysWhatItHasRead()
    {
        await Expect(0, "version 1\n", "", "set", "k", "v");
        (int code, byte[] output, string error, _) = await Run([], "admin", "scrub", "--rate", "1GiB");
        Assert.Equal((0, ""), (code, error));
        Assert.Matches("^all files: read [0-9.]+ [KMG]?i?B, no damage found\n$", Encoding.UTF8.GetString(output));
        (code, output, _, _) = await Run([], "admin", "scrub", "--partition", "1", "--json");
        Assert.Equal(0, code);
        using JsonDocument json = JsonDocument.Parse(output);
        Assert.True(json.RootElement.GetProperty("ok").GetBoolean());
        Assert.Equal(0, json.RootElement.GetProperty("damages").GetArrayLength());
        await Expect(1, "", "keyva: there is no partition 9; 'keyva admin partition list' shows them\n", "admin", "scrub", "--partition", "9");
        await Expect(2, "", "keyva: --rate is '5KB'; it must be at least 64KiB: a whole number with B, KiB, MiB, GiB or TiB, such as 64MiB\n", "admin", "scrub", "--rate", "5KB");
        await Expect(2, "", "keyva: --rate is '1KiB'; it must be at least 64KiB: a whole number with B, KiB, MiB, GiB or TiB, such as 64MiB\n", "admin", "scrub", "--rate", "1KiB");
        await Expect(1, "", "keyva: there is no lsm partition 9; 'keyva admin partition list' shows them\n", "admin", "engine", "--partition", "9");
        await Expect(1, "", "keyva: there is no partition 9; 'keyva admin partition list' shows them\n", "admin", "compact", "--partition", "9");
        foreach (string command in (string[])["scrub", "compact", "engine"])
        {
            await Expect(
                2, "", $"keyva: Cannot parse argument 'x' for option '--partition': it must be a whole number\nSee 'keyva admin {command} --help'.\n", "admin", command, "--partition", "x");
            await Expect(2, "", "keyva: there is no partition 0: they count from 1; 'keyva admin partition list' shows them\n", "admin", command, "--partition", "0");
        }
    }

    [Fact]
    public async Task ConditionsAndLimitsAreRefused()
    {
        await Expect(0, "version 1\n", "", "set", "k", "1", "--if-absent");
        await Expect(4, "", "keyva: the condition does not hold: the key is at version 1\n", "set", "k", "2", "--if-absent");
        await Expect(4, "", null, "set", "k", "2", "--if-version", "7");
        await Expect(4, "", null, "set", "none", "2", "--if-present");
        await Expect(0, "version 5\n", "", "set", "k", "2", "--if-version", "1");
        await Expect(4, "", null, "del", "k", "--if-version", "1");
        await Expect(2, "", "keyva: --if-absent, --if-present and --if-version exclude each other; give one\n", "set", "k", "2", "--if-absent", "--if-present");
        string big = Path.Combine(_directory, "big");
        await File.WriteAllBytesAsync(big, new byte[2 << 20]);
        await Expect(4, "", null, "set", "k", "--file", big);
        await Expect(2, "", null, "set", "", "x");
        await Expect(2, "", null, "set", "k");
        await Expect(2, "", null, "set", "k", "v", "--file", big);
        await Expect(2, "", null, "set", "k", "--file", big + "-none");
        await Expect(2, "", null, "scan", "--from", "b", "--to", "a");
        await Expect(2, "", null, "scan", "--limit", "0");
        await Expect(2, "", null, "get", "k", "--server", "no address");
        await Expect(2, "", "keyva: there is no command 'gte'\nSee 'keyva --help'.\n", "gte", "k");
    }

    [Fact]
    public async Task AnyBytesGoInAndOut()
    {
        byte[] value = [0, 255, 10, 13, 65];
        (int code, _, _, _) = await Run(value, "set", "6b00ff", "-", "--key-encoding", "hex");
        Assert.Equal(0, code);
        (_, byte[] output, _, _) = await Run([], "get", "awD_", "--key-encoding", "base64");
        Assert.Equal(value, output);
        await Expect(0, "k\\x00\\xff\t\\x00\\xff\\n\\rA\n", "", "scan");
        await Expect(0, "6b00ff\n", "", "scan", "-k", "--key-encoding", "hex");
    }

    [Fact]
    public async Task AKeyWithATimeToLiveSaysWhenItExpires()
    {
        await Expect(0, "version 1\n", "", "set", "k", "v", "--ttl", "1h");
        (_, byte[] output, _, _) = await Run([], "get", "k", "--json");
        using System.Text.Json.JsonDocument json = System.Text.Json.JsonDocument.Parse(output);
        Assert.Equal(
            json.RootElement.GetProperty("modified").GetInt64() + 3_600_000,
            json.RootElement.GetProperty("expires").GetInt64());
        await Expect(2, "", "keyva: --ttl is '5x'; write a number with ms, s, m, h or d, such as 90s\n", "set", "k", "v", "--ttl", "5x");
    }

    [Fact]
    public async Task EveryCommandSpeaksJson()
    {
        await Expect(0, "{\"version\":1}\n", "", "set", "a", "1", "--json");
        await Expect(0, "{\"version\":2}\n", "", "--json", "mset", "b", "2", "c", "\"3\"");
        await Expect(0, "{\"removed\":1,\"version\":3}\n", "", "del", "b", "--json");
        (_, byte[] scan, _, _) = await Run([], "scan", "--json");
        Assert.Matches("^\\{\"key\":\"a\",\"value\":\"1\",\"version\":1,\"modified\":\\d+\\}\n\\{\"key\":\"c\",\"value\":\"\\\\\"3\\\\\"\",\"version\":2,\"modified\":\\d+\\}\n$", Encoding.UTF8.GetString(scan));
        (int missing, byte[] found, _, _) = await Run([], "mget", "a", "x", "--json");
        Assert.Equal(1, missing);
        Assert.Contains("{\"found\":false,\"key\":\"x\",", Encoding.UTF8.GetString(found), StringComparison.Ordinal);
        foreach (string[] command in (string[][])[["metrics"], ["version"], ["admin", "partition", "list"], ["admin", "engine"], ["admin", "compact"], ["verify", await SnapshotAsync()], ["export", Path.Combine(_directory, "x.csv")]])
        {
            (int code, byte[] output, string error, _) = await Run([], [.. command, "--json"]);
            Assert.True(code == 0, error);
            Assert.All(Encoding.UTF8.GetString(output).TrimEnd('\n').Split('\n'), line => System.Text.Json.JsonDocument.Parse(line).Dispose());
        }
    }

    [Fact]
    public async Task WhatIsExportedIsImportedTheSame()
    {
        string input = Path.Combine(_directory, "in.jsonl");
        List<(byte[] Key, byte[] Value, long Expires)> records = TransferData.Records(new Random(3), 500);
        records = [.. records.Select(record => (record.Key, record.Value, record.Expires == 0 ? 0 : 4_000_000_000_000))];
        await File.WriteAllBytesAsync(input, TransferData.Write(records, KeyVa.Cli.Transfer.TransferFormat.JsonLines));
        (int code, byte[] output, string error, _) = await Run([], "import", input, "--resume");
        Assert.True(code == 0, error);
        Assert.StartsWith("imported 500 records (", Encoding.UTF8.GetString(output), StringComparison.Ordinal);
        Assert.False(File.Exists(KeyVa.Cli.Transfer.ImportState.PathFor(input)));
        string csv = Path.Combine(_directory, "out.csv");
        Assert.Equal(0, (await Run([], "export", csv)).Code);
        (_, byte[] before, _, _) = await Run([], "export", "-");
        await using TestServer other = await TestServer.StartAsync();
        Assert.Equal(0, (await Run([], "import", csv, "--server", other.Data)).Code);
        (_, byte[] after, _, _) = await Run([], "export", "-", "--server", other.Data);
        Assert.Equal(before, after);
        await Expect(2, "", null, "export", csv);
        Assert.Equal(0, (await Run(before, "import", "-", "--format", "jsonl", "--server", other.Data)).Code);
    }

    [Fact]
    public async Task TheExampleIsImportedAndFound()
    {
        string sample = Path.Combine(Repository(), "examples", "packages.jsonl");
        int lines = (await File.ReadAllLinesAsync(sample)).Length;
        (int code, byte[] output, string error, _) = await Run([], "import", sample, "--key-field", "package");
        Assert.True(code == 0, error);
        Assert.StartsWith($"imported {lines} records", Encoding.UTF8.GetString(output), StringComparison.Ordinal);
        (_, byte[] value, _, _) = await Run([], "get", "0ad");
        Assert.StartsWith("{\"package\":\"0ad\",\"version\":", Encoding.UTF8.GetString(value), StringComparison.Ordinal);
        (_, byte[] scan, _, _) = await Run([], "scan", "--prefix", "lib", "--keys-only");
        Assert.True(Encoding.UTF8.GetString(scan).Split('\n').Length > 20);
    }

    [Fact]
    public async Task PartitionsAreAdministered()
    {
        await Expect(0, "removed partition 1: -∞ to +∞, lsm\n", "", "admin", "partition", "remove", "1");
        await Expect(4, "", null, "set", "a", "1");
        await Expect(0, "added partition 2: -∞ to m, lsm\n", "", "admin", "partition", "add", "--to", "m");
        await Expect(2, "", null, "admin", "partition", "add", "--from", "a", "--to", "b");
        await Expect(0, "version 1\n", "", "set", "a", "1");
        await Expect(4, "", null, "admin", "partition", "remove", "2");
        await Expect(2, "", null, "admin", "partition", "remove");
        (_, byte[] list, _, _) = await Run([], "admin", "partition", "list");
        Assert.Matches(@"^ID +FROM +TO +ENGINE +KEYS +STORAGE +APPLIED +DURABLE +SETTINGS *\n +2 +-∞ +m +lsm +~1 ", Encoding.UTF8.GetString(list));
        await Expect(0, "set partition 2: -∞ to m, lsm, acknowledgement=async\n", "", "admin", "partition", "set", "2", "acknowledgement=async");
        (_, list, _, _) = await Run([], "admin", "partition", "list");
        Assert.Matches(@" acknowledgement=async *\n$", Encoding.UTF8.GetString(list));
        (_, list, _, _) = await Run([], "admin", "partition", "list", "--json");
        Assert.Contains("\"settings\":{\"acknowledgement\":\"async\"}", Encoding.UTF8.GetString(list), StringComparison.Ordinal);
        await Expect(2, "", "keyva: acknowledgement semi-sync=2 asks for 2 replicas beside the leader, and there are none: the partition lives on one node\n", "admin", "partition", "set", "2", "acknowledgement=semi-sync=2");
        await Expect(2, "", "keyva: a partition has no setting 'retention'; there is: acknowledgement\n", "admin", "partition", "set", "2", "retention=1h");
        await Expect(2, "", null, "admin", "partition", "set", "2", "acknowledgement");
        await Expect(1, "", "keyva: there is no partition 9; 'keyva admin partition list' shows them\n", "admin", "partition", "set", "9", "acknowledgement=async");
        await Expect(0, "set partition 2: -∞ to m, lsm\n", "", "admin", "partition", "set", "2", "acknowledgement=default");
        await Expect(0, "removed partition 2: -∞ to m, lsm\n", "", "admin", "partition", "remove", "--to", "m", "--discard-data");
    }

    [Fact]
    public async Task EnginesAreCompactedAndShown()
    {
        await Expect(0, "version 1\n", "", "set", "a", "1");
        await Expect(0, "version 2\n", "", "set", "a", "2");
        (int code, byte[] compacted, string error, _) = await Run([], "admin", "compact", "--partition", "1");
        Assert.True(code == 0, error);
        Assert.Matches(@"^compacted [\d.,]+ B to [\d.,]+ B\n$", Encoding.UTF8.GetString(compacted));
        (_, byte[] table, _, _) = await Run([], "admin", "engine");
        string text = Encoding.UTF8.GetString(table);
        Assert.Matches(@"^partition 1\nLEVEL +TABLES +BYTES +TARGET +SCORE +TOMBSTONES +READ ABOVE +READ LEVEL +WRITTEN +W-AMP +COMPACTIONS +MOVES +TIME *\n", text);
        Assert.Matches(@"\n6 +1 ", text);
        Assert.Contains("write amplification ", text, StringComparison.Ordinal);
        await Expect(0, Encoding.UTF8.GetString(table), "", "admin", "engine", "--partition", "1");
        await Expect(1, "", null, "admin", "engine", "--partition", "9");
        await Expect(1, "", null, "admin", "compact", "--partition", "9");
        await Expect(2, "", null, "admin", "compact", "--from", "b", "--to", "a");
    }

    [Fact]
    public async Task DamageIsFoundInASnapshot()
    {
        string snapshot = await SnapshotAsync();
        string before = Listing(snapshot);
        (int sound, byte[] output, string error, _) = await Run([], "verify", snapshot);
        Assert.True(sound == 0, error);
        Assert.Equal(before, Listing(snapshot));
        Assert.EndsWith($"{snapshot}: no damage found\n", Encoding.UTF8.GetString(output), StringComparison.Ordinal);
        (int inUse, _, _, _) = await Run([], "verify", _server.Directory);
        Assert.Equal(4, inUse);
        string largest = Directory.GetFiles(snapshot, "*", SearchOption.AllDirectories).MaxBy(file => new FileInfo(file).Length)!;
        byte[] bytes = await File.ReadAllBytesAsync(largest);
        bytes[bytes.Length / 2] ^= 1;
        await File.WriteAllBytesAsync(largest, bytes);
        (int damaged, output, _, _) = await Run([], "verify", snapshot);
        Assert.Equal(5, damaged);
        Assert.Contains($"damage: {largest} at offset ", Encoding.UTF8.GetString(output), StringComparison.Ordinal);
        await Expect(2, "", null, "verify", Path.Combine(_directory, "none"));
        before = Listing(snapshot);
        string repaired = Path.Combine(_directory, "repaired");
        (int lost, output, error, _) = await Run([], "repair", snapshot, "--to", repaired, "--json");
        Assert.True(lost == 5, error);
        using JsonDocument report = JsonDocument.Parse(output);
        Assert.Equal(largest, report.RootElement.GetProperty("losses")[0].GetProperty("file").GetString());
        Assert.Equal(before, Listing(snapshot));
        (int clean, _, error, _) = await Run([], "verify", repaired);
        Assert.True(clean == 0, error);
        await Expect(4, "", null, "repair", snapshot, "--to", repaired);
        (lost, output, _, _) = await Run([], "repair", snapshot);
        Assert.Equal(5, lost);
        Assert.Contains($"what was replaced is in {snapshot}/damaged-1", Encoding.UTF8.GetString(output), StringComparison.Ordinal);
        (clean, output, _, _) = await Run([], "repair", snapshot);
        Assert.Equal(0, clean);
        Assert.Contains("nothing was changed", Encoding.UTF8.GetString(output), StringComparison.Ordinal);
    }

    private static string Listing(string folder) => string.Join('\n', Directory.GetFiles(folder, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)
        .Select(static file => $"{file} {new FileInfo(file).Length} {File.GetLastWriteTimeUtc(file):O}"));

    [Fact]
    public async Task AScriptRunsInTheShell()
    {
        const string Script = "# remark\nset s1 \"a b\\n\"\nget s1\n\nget none\nset s2 'x'\nkeyva get s2\nnonsense\nget s1\n";
        (int code, byte[] output, string error, _) = await Run(Encoding.UTF8.GetBytes(Script), "shell");
        Assert.Equal((2, "version 1\na b\nversion 2\nx"), (code, Encoding.UTF8.GetString(output)));
        Assert.EndsWith("keyva: stopped at line 8 of the script; --keep-going goes on\n", error, StringComparison.Ordinal);
        (code, output, _, _) = await Run(Encoding.UTF8.GetBytes(Script), "shell", "--keep-going");
        Assert.Equal((2, "version 3\na b\nversion 4\nxa b\n"), (code, Encoding.UTF8.GetString(output)));
        (code, output, _, _) = await Run("get s2 --json\nexit\nget s1\n"u8.ToArray(), "shell");
        Assert.Equal(0, code);
        Assert.StartsWith("{\"key\":\"s2\"", Encoding.UTF8.GetString(output), StringComparison.Ordinal);
    }

    private async Task<string> SnapshotAsync()
    {
        string sample = Path.Combine(Repository(), "examples", "packages.jsonl");
        Assert.Equal(0, (await Run([], "import", sample, "--key-field", "package")).Code);
        string path = Path.Combine(_directory, "snapshot");
        (int code, _, string error, _) = await Run([], "admin", "partition", "snapshot", "1", path);
        Assert.True(code == 0, error);
        return path;
    }

    private async Task Expect(int code, string output, string? error, params string[] arguments)
    {
        (int actualCode, byte[] actualOutput, string actualError, _) = await Run([], arguments);
        Assert.Equal((code, output), (actualCode, Encoding.UTF8.GetString(actualOutput)));
        if (error is not null)
        {
            Assert.Equal(error, actualError);
        }
        else
        {
            Assert.StartsWith("keyva: ", actualError, StringComparison.Ordinal);
        }
    }

    private async Task<(int Code, byte[] Output, string Error, string Line)> Run(byte[] input, params string[] arguments)
    {
        using MemoryStream output = new();
        using StringWriter error = new() { NewLine = "\n" };
        using Terminal terminal = new(new MemoryStream(input), output, error);
        using Interrupts interrupts = new(listen: false);
        await using Session session = new(terminal, interrupts);
        string[] defaults = arguments.Contains("--server") ? [] : ["--server", _server.Data, "--control", _server.Control];
        int code = await CommandRunner.RunAsync(session, [.. arguments, .. defaults.Where((_, i) => i < 2 || !arguments.Contains("--control"))], CancellationToken.None);
        return (code, output.ToArray(), error.ToString(), string.Join(' ', arguments));
    }

    private static string Repository()
    {
        DirectoryInfo? at = new(AppContext.BaseDirectory);
        while (at is not null && !File.Exists(Path.Combine(at.FullName, "KeyVa.slnx")))
        {
            at = at.Parent;
        }

        return at?.FullName ?? throw new InvalidOperationException("the tests run inside the repository");
    }
}
