using System.Text.RegularExpressions;
using KeyVa.Tests.Client;
using Xunit;

namespace KeyVa.Tests.Cli;

/// <summary>Versions on the command line, against a real server in this process.</summary>
public sealed partial class PastCommandTests : IAsyncLifetime
{
    private TestServer _server = null!;

    public async Task InitializeAsync() =>
        _server = await TestServer.StartAsync(new StoreOptions { Durability = Durability.Os, RetainVersionsFor = TimeSpan.FromHours(1) });

    public async Task DisposeAsync() => await _server.DisposeAsync();

    [Fact]
    public async Task WhatWasIsReadAndListed()
    {
        await WriteAsync();
        await Expect(0, "1", "", "get", "a", "--at-version", "1");
        await Expect(0, "22", "", "get", "a", "--at-version", "3");
        await Expect(1, "", "keyva: no key 'a' at that time\n", "get", "a", "--at-version", "4");
        await Expect(0, "x\ty\n", "", "scan", "--at-time", "2100-01-01T00:00:00Z");
        await Expect(0, "a\t1\n", "", "scan", "--at-version", "1");
        (int code, string output, string error) = await Run("", "history", "a");
        Assert.Equal(0, code);
        Assert.Equal(
            "version  time                         size  value\n"
            + "      4  2000-01-01T00:00:00.000Z  removed\n"
            + "      3  2000-01-01T00:00:00.000Z        2  22\n"
            + "      1  2000-01-01T00:00:00.000Z        1  1\n",
            TrailingSpace().Replace(Time().Replace(output, "2000-01-01T00:00:00.000Z"), "\n"));
        Assert.Equal("", error);
        (_, output, error) = await Run("", "history", "a", "-n", "1", "--json");
        Assert.Matches("^{\"version\":4,\"modified\":[0-9]+,\"removed\":true}\n$", output);
        Assert.Equal("keyva: there are more; go on with --before 4\n", error);
        (_, output, _) = await Run("", "history", "a", "--before", "4", "--limit", "1", "--json");
        Assert.Matches("^{\"version\":3,\"modified\":[0-9]+,\"value\":\"22\"}\n$", output);
        (_, output, _) = await Run("", "history", "a", "-k", "--before", "2");
        Assert.DoesNotContain("value", output, StringComparison.Ordinal);
        await Expect(1, "", "keyva: nothing is known of the key 'none'\n", "history", "none");
    }

    [Fact]
    public async Task WhatWasIsBroughtBack()
    {
        await WriteAsync();
        await Expect(0, "rolled back 1 key to version 1, version 5\n", "", "revert", "a", "--to-version", "1");
        await Expect(0, "a\t1\nx\ty\n", "", "scan");
        await Expect(0, "{\"version\":6,\"toVersion\":1,\"keysChanged\":1}\n", "", "revert", "--prefix", "x", "--to-version", "1", "--json");
        await Expect(0, "a\t1\n", "", "scan");
        await Expect(0, "rolled back 2 keys to version 3, version 7\n", "", "revert", "--from", "a", "--to", "z", "--to-version", "3");
        await Expect(0, "rolled back 1 key to version 2, version 8\n", "", "revert", "--partition", "1", "--to-version", "2");
        await Expect(0, "rolled back 1 key to version 1, version 9\n", "", "revert", "--all", "--to-version", "1");
        await Expect(0, "a\t1\n", "", "scan");
        (int code, string output, string error) = await Run("revert a --to-version 3\nget a\nrevert a --to-time 2100-01-01\nhistory a -n 1 --json\n", "shell");
        Assert.True(code == 0, error);
        Assert.StartsWith("rolled back 1 key to version 3, version 10\n22", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task WhatIsWrongIsSaid()
    {
        await WriteAsync();
        const string What = "keyva: give one of these: a KEY, --prefix, --from and --to (one of them may be left out), --partition, --all; none of them empty\n";
        await Expect(2, "", What, "revert", "--to-version", "1");
        await Expect(2, "", What, "revert", "a", "--prefix", "a", "--to-version", "1");
        await Expect(2, "", What, "revert", "--prefix", "", "--to-version", "1");
        await Expect(2, "", "keyva: say what to roll back to, with --to-version or --to-time; 'keyva history KEY' lists a key's versions\n", "revert", "a");
        await Expect(2, "", "keyva: --to-version and --to-time exclude each other; give one\n", "revert", "a", "--to-version", "1", "--to-time", "1h");
        await Expect(2, "", "keyva: --to-version is 0; versions are whole numbers from 1\n", "revert", "a", "--to-version", "0");
        await Expect(2, "", "keyva: the range is empty: --from is not before --to\n", "revert", "--from", "b", "--to", "a", "--to-version", "1");
        await Expect(2, "", "keyva: there is no version 99 yet; the newest is 4\n", "revert", "a", "--to-version", "99");
        await Expect(1, "", "keyva: there is no partition 9; 'keyva admin partition list' shows them\n", "revert", "--partition", "9", "--to-version", "1");
        await Expect(2, "", "keyva: there is no version 99 yet; the newest is 4\n", "get", "a", "--at-version", "99");
        await Expect(2, "", "keyva: there is no version 99 yet; the newest is 4\n", "scan", "--at-version", "99");
        await Expect(
            2, "", "keyva: --at-time is 'then'; write a number with ms, s, m, h or d, such as 90s\n", "get", "a", "--at-time", "then");
        await Expect(
            2, "", "keyva: --at-time is '2026'; write a moment in ISO 8601, such as 2030-01-31T12:00:00Z; without a zone it is UTC, or how long ago, such as 15m\n",
            "get", "a", "--at-time", "2026");
        await Expect(4, "", null, "get", "a", "--at-time", "1971-01-01");
        await Expect(2, "", "keyva: --limit must be at least 1\n", "history", "a", "--limit", "0");
        await Expect(2, "", "keyva: --before must be at least 2; there is no version before 1\n", "history", "a", "--before", "1");
    }

    private async Task WriteAsync()
    {
        await Expect(0, "version 1\n", "", "set", "a", "1");
        await Expect(0, "version 2\n", "", "set", "x", "y");
        await Expect(0, "version 3\n", "", "set", "a", "22");
        await Expect(0, "removed\n", "", "del", "a");
    }

    private async Task Expect(int code, string output, string? error, params string[] arguments)
    {
        (int actualCode, string actualOutput, string actualError) = await Run("", arguments);
        Assert.Equal((code, output), (actualCode, actualOutput));
        Assert.Equal(error ?? actualError, actualError);
        Assert.True(error is not null || actualError.StartsWith("keyva: ", StringComparison.Ordinal), actualError);
    }

    private Task<(int Code, string Output, string Error)> Run(string input, params string[] arguments) => CommandLine.RunAsync(_server, input, arguments);

    [GeneratedRegex(@"\d{4}-\d\d-\d\dT[\d:.]+Z")]
    private static partial Regex Time();

    [GeneratedRegex(" +\n")]
    private static partial Regex TrailingSpace();
}
