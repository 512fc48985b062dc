using System.Diagnostics;
using System.Net;
using System.Text.Json;
using Xunit;
using static KeyVa.Tests.Server.ServerFixture;

namespace KeyVa.Tests.Server;

public sealed class RestWatchTests(ServerFixture server) : IClassFixture<ServerFixture>
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    [Fact]
    public async Task ChangesComeAsEventsAndLastEventIdResumes()
    {
        string last;
        await using (Events events = await Events.OpenAsync(server, "/watch?prefix=sse/&previous=true"))
        {
            Assert.Equal("progress", (await events.NextAsync()).Name);
            (await server.PutAsync("/kv/sse/a", "1")).Dispose();
            (await server.PutAsync("/kv/beside", "x")).Dispose();
            server.Store.Write(new WriteBatch().Put("sse/a"u8, "2"u8).Put("sse/b"u8, [255]));
            server.Store.RemoveRange("sse/"u8, "sse0"u8);
            server.Store.Remove("sse/c"u8, blind: true);
            (string name, string id, JsonElement data) = await events.NextAsync();
            Assert.Equal(("put", "sse/a", "1", 0), (name, data.GetProperty("key").GetString(), data.GetProperty("value").GetString(), data.GetProperty("previousVersion").GetInt64()));
            Assert.Equal(id, $"{data.GetProperty("version").GetInt64()}");
            last = id;
            (_, id, data) = await events.NextAsync();
            Assert.Equal(("", true, "1"), (id, data.GetProperty("more").GetBoolean(), data.GetProperty("previous").GetString()));
            (_, id, data) = await events.NextAsync();
            Assert.Equal("/w==", data.GetProperty("value64").GetString());
            Assert.Equal(id, $"{data.GetProperty("version").GetInt64()}");
            (name, _, data) = await events.NextAsync();
            Assert.Equal(("remove-range", "sse/", "sse0"), (name, data.GetProperty("from").GetString(), data.GetProperty("to").GetString()));
            (name, _, data) = await events.NextAsync();
            Assert.Equal(("remove", "sse/c"), (name, data.GetProperty("key").GetString()));
        }

        await using Events resumed = await Events.OpenAsync(server, "/watch?key=sse/b&version=1", last);
        Assert.Equal(("progress", last), await resumed.NameAndIdAsync());
        Assert.Equal("put", (await resumed.NextAsync()).Name);
        Assert.Equal("remove", (await resumed.NextAsync()).Name);
    }

    [Fact]
    public async Task WhatIsGoneIsAnEventThatSaysWhereToBegin()
    {
        ServerFixture own = await StartedAsync(new StoreOptions());
        (await own.PutAsync("/kv/gone", "1")).Dispose();
        await using Events events = await Events.OpenAsync(own, "/watch?version=1");
        (string name, string id, JsonElement data) = await events.NextAsync();
        Assert.Equal("progress", name);
        (name, id, data) = await events.NextAsync();
        Assert.Equal("compacted", name);
        Assert.Equal(id, $"{data.GetProperty("startVersion").GetInt64() - 1}");
        Assert.True(await events.HasEndedAsync());
        await own.DisposeAsync();
    }

    [Theory]
    [InlineData("/watch?key=", 400)]
    [InlineData("/watch?key=a&prefix=b", 400)]
    [InlineData("/watch?version=-1", 400)]
    [InlineData("/watch?version=99999999", 400)]
    [InlineData("/watch?limit=1", 400)]
    [InlineData("/watch?from=b&to=a", 400)]
    public async Task AWrongWatchIsAProblem(string target, int status)
    {
        using HttpResponseMessage response = await server.SendAsync("GET", target);
        await ProblemAsync(response, status, "invalid");
    }

    [Fact]
    public async Task CurlSeesEventsAsTheyComeAndAServerThatStopsEndsThem()
    {
        ServerFixture own = await StartedAsync(new StoreOptions());
        using Process curl = Process.Start(new ProcessStartInfo("curl", ["-sN", "--noproxy", "*", "--max-time", "100", $"http://{own.Server.RestAddress}/watch?key=k"])
        {
            RedirectStandardOutput = true,
        })!;
        Assert.Equal("event: progress", await curl.StandardOutput.ReadLineAsync().WaitAsync(Patience));
        Assert.Equal("id: 0", await curl.StandardOutput.ReadLineAsync());
        Assert.Equal("data: {\"version\":0}", await curl.StandardOutput.ReadLineAsync());
        Assert.Equal("", await curl.StandardOutput.ReadLineAsync());
        own.Store.Upsert("k"u8, "v"u8);
        Assert.Equal("event: put", await curl.StandardOutput.ReadLineAsync().WaitAsync(Patience));
        Assert.Equal("id: 1", await curl.StandardOutput.ReadLineAsync());
        Assert.StartsWith("data: {\"key\":\"k\",\"value\":\"v\",\"version\":1,", await curl.StandardOutput.ReadLineAsync(), StringComparison.Ordinal);
        var stopped = Stopwatch.StartNew();
        await own.DisposeAsync();
        await curl.WaitForExitAsync(new CancellationTokenSource(Patience).Token);
        Assert.Equal(0, curl.ExitCode);
        Assert.True(stopped.Elapsed < TimeSpan.FromSeconds(60), $"a watch held the server's end up for {stopped.Elapsed}");
    }

    /// <summary>Reads server-sent events.</summary>
    private sealed class Events : IAsyncDisposable
    {
        private readonly HttpResponseMessage _response;
        private readonly StreamReader _lines;

        private Events(HttpResponseMessage response, Stream body)
        {
            _response = response;
            _lines = new StreamReader(body);
        }

        public static async Task<Events> OpenAsync(ServerFixture server, string target, string? lastEventId = null)
        {
            using HttpRequestMessage request = new(HttpMethod.Get, target);
            if (lastEventId is not null)
            {
                request.Headers.Add("Last-Event-ID", lastEventId);
            }

            HttpResponseMessage response = await server.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead).WaitAsync(Patience);
            Assert.Equal(HttpStatusCode.OK, response.StatusCode);
            Assert.Equal("text/event-stream", response.Content.Headers.ContentType!.MediaType);
            return new Events(response, await response.Content.ReadAsStreamAsync());
        }

        public async Task<(string Name, string Id, JsonElement Data)> NextAsync()
        {
            string name = "";
            string id = "";
            JsonElement data = default;
            while (await _lines.ReadLineAsync().WaitAsync(Patience) is { } line)
            {
                string[] field = line.Split(": ", 2);
                switch (field[0])
                {
                    case "event":
                        name = field[1];
                        break;
                    case "id":
                        id = field[1];
                        break;
                    case "data":
                        data = JsonDocument.Parse(field[1]).RootElement;
                        break;
                    case "" when name.Length > 0:
                        return (name, id, data);
                    default:
                        break;
                }
            }

            throw new EndOfStreamException();
        }

        public async Task<(string Name, string Id)> NameAndIdAsync()
        {
            (string name, string id, _) = await NextAsync();
            return (name, id);
        }

        public async Task<bool> HasEndedAsync() => await _lines.ReadLineAsync().WaitAsync(Patience) is null;

        public ValueTask DisposeAsync()
        {
            _lines.Dispose();
            _response.Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
