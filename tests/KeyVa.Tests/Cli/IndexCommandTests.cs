using KeyVa.Cli;
using KeyVa.Cli.Shell;
using KeyVa.Client;
using KeyVa.Tests.Client;
using Xunit;

namespace KeyVa.Tests.Cli;

/// <summary>Secondary indexes on the command line, against a real server in this process.</summary>
public sealed class IndexCommandTests : IAsyncLifetime
{
    private TestServer _server = null!;

    public async Task InitializeAsync() => _server = await TestServer.StartAsync(new StoreOptions { Durability = Durability.Os });

    public async Task DisposeAsync() => await _server.DisposeAsync();

    [Fact]
    public async Task AnIndexIsCreatedAskedAndDropped()
    {
        await WriteAsync();
        await Expect(0, "", "keyva: there are no indexes; create one with 'keyva index create'\n", "index", "list");
        await Expect(
            0, "index city: created\n", "keyva: 1 record cannot be read by it and is in no answer; 'keyva index show city' names some\n", "index", "create", "city", "c", "n");
        await Expect(0, "a\t{\"c\":\"Oslo\",\"n\":1}\nb\t{\"c\":\"Oslo\",\"n\":2}\n", "", "index", "query", "city", "Oslo");
        await Expect(0, "b\n", "", "index", "query", "city", "Oslo", "--from", "1", "--from-exclusive", "-k");
        await Expect(0, "b\na\n", "", "index", "query", "city", "--prefix", "Os", "-r", "-k", "-n", "2");
        await Expect(0, "c\na\n", "", "index", "query", "city", "--to", "Oslo", "--to", "1", "--to-inclusive", "-k");
        await Expect(0, "c\n", "", "index", "query", "city", "\"30\"", "-k");
        await Expect(0, "", "", "index", "query", "city", "30", "-k");
        await Expect(0, "{\"key\":\"a\",\"fields\":[\"Oslo\",1]}\n", "", "index", "query", "city", "Oslo", "1", "-k", "--json");
        (_, string output, _) = await Run("", "index", "query", "city", "Oslo", "2", "--json");
        Assert.Matches("^{\"key\":\"b\",\"value\":.*,\"version\":[0-9]+,\"modified\":[0-9]+,\"fields\":\\[\"Oslo\",2\\]}\n$", output);

        (_, output, _) = await Run("", "index", "list");
        Assert.Matches("^NAME +FIELDS +KIND +STATE +ENTRIES +STORAGE +UNINDEXED *\ncity +c, n +- +ready +~[0-9]+ .*1 *\n$", output);
        (_, output, _) = await Run("", "index", "show", "city");
        Assert.Matches("^index +city *\nfields +c, n *\nkind +- *\nstate +ready *\nentries +~.*\nstorage .*\nunindexed +1 *\n +x *\n$", output);
        (_, output, _) = await Run("", "index", "show", "city", "--json");
        Assert.Matches(
            "^{\"name\":\"city\",\"fields\":\\[\"c\",\"n\"\\],\"unique\":false,\"sparse\":false,\"strict\":false,\"state\":\"ready\",\"filled_records\":4,.*\"unindexed_keys\":\\[{\"key\":\"x\"}\\]}\n$",
            output);
        await Expect(0, "index city: is ready\n", null, "index", "wait", "city");
        await Expect(0, "index city: was there already\n", null, "index", "create", "city", "c", "n");
        await Expect(0, "index city: dropped\n", "", "index", "drop", "city");
        await Expect(1, "", "keyva: there is no index 'city'\n", "index", "drop", "city");
        await Expect(0, "index sku: created\n", null, "index", "create", "sku", "n", "--unique", "--sparse", "--json=false");
        (int code, output, string error) = await Run("begin\nset d {\\\"n\\\":9}\nindex query sku --from 2 -k\nindex query none\nindex query sku --from 9 -k\ncommit\nindex query sku --from 9 -k\ndel d\n", "shell");
        Assert.Matches("^transaction [0-9]+\nwritten, to be committed\nb\nd\nd\ncommitted, version [0-9]+\nd\nremoved\n$", output);
        Assert.Contains("there is no index 'none'", error, StringComparison.Ordinal);
        (code, output, error) = await Run("index query sku --from 2 -k\nindex drop sku\n", "shell");
        Assert.True(code == 0, error);
        Assert.StartsWith("b\nindex sku: dropped\n", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task WhatIsWrongIsSaid()
    {
        await WriteAsync();
        await Expect(1, "", "keyva: there is no index 'none'\n", "index", "query", "none");
        await Expect(1, "", "keyva: there is no index 'none'; 'keyva index list' shows them\n", "index", "show", "none");
        await Expect(1, "", "keyva: there is no index 'none'\n", "index", "wait", "none");
        await Expect(2, "", "keyva: the path 'a..b' cannot be read at character 1: it is names with dots in between, and numbers, * or quoted names in brackets\n", "index", "create", "x", "a..b");
        await Expect(2, "", "keyva: an index's name has 1 to 64 letters, digits, dots, hyphens and underscores\n", "index", "create", "a b", "c");
        await Expect(
            4, "", "keyva: the index 'one' cannot be unique: the records 'a' and 'b' both have \"Oslo\"\n", "index", "create", "one", "c", "--unique");
        await Expect(0, "index n: created\n", null, "index", "create", "n", "n");
        await Expect(4, "", "keyva: there is an index 'n' with another definition; drop that one first\n", "index", "create", "n", "c");
        await Expect(2, "", "keyva: the query names 2 values, the index 'n' has 1 fields\n", "index", "query", "n", "1", "2");
        await Expect(2, "", "keyva: a query has a prefix or a range, not both\n", "index", "query", "n", "-p", "x", "--from", "1");
        await Expect(2, "", "keyva: --limit must be at least 1\n", "index", "query", "n", "-n", "0");
        await Expect(2, "", "keyva: VALUE is '\"x', which begins with a double quote and is no JSON string\n", "index", "query", "n", "\"x");
        await Expect(2, "", null, "index", "query", "n", "[1]");
        await Expect(2, "", null, "index", "create", "n");
    }

    [Fact]
    public async Task TheShellCompletesNamesOfIndexes()
    {
        await Expect(0, "index city: created\n", "", "index", "create", "city", "c");
        await Expect(0, "index count: created\n", "", "index", "create", "count", "n");
        using MemoryStream output = new();
        using Terminal terminal = new(new MemoryStream(), output, TextWriter.Null);
        using Interrupts interrupts = new(listen: false);
        await using Session session = new(terminal, interrupts);
        await using RemoteStore store = _server.Connect();
        Completer completer = new(CommandTree.Create(session), () => store);
        Assert.Equal(["create", "drop", "list", "query", "show", "wait"], completer.Complete("index ").Candidates);
        Assert.Equal(["city", "count"], completer.Complete("index drop ").Candidates);
        Assert.Equal(["count"], completer.Complete("index query co").Candidates);
        Assert.Empty(completer.Complete("index create c").Candidates);
    }

    private async Task WriteAsync()
    {
        await Expect(0, "version 1\n", "", "mset", "a", "{\"c\":\"Oslo\",\"n\":1}", "b", "{\"c\":\"Oslo\",\"n\":2}", "c", "{\"c\":\"30\"}", "x", "no JSON");
    }

    private async Task Expect(int code, string output, string? error, params string[] arguments)
    {
        (int actualCode, string actualOutput, string actualError) = await Run("", arguments);
        Assert.Equal((code, output, error ?? actualError), (actualCode, actualOutput, actualError));
    }

    private Task<(int Code, string Output, string Error)> Run(string input, params string[] arguments) => CommandLine.RunAsync(_server, input, arguments);
}
