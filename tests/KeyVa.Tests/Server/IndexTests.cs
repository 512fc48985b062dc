using System.Net;
using System.Text.Json;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;
using Xunit;

namespace KeyVa.Tests.Server;

/// <summary>Secondary indexes over REST and gRPC.</summary>
public sealed class IndexTests : IAsyncLifetime
{
    private ServerFixture _server = null!;

    public async Task InitializeAsync() => _server = await ServerFixture.StartedAsync(new StoreOptions());

    public Task DisposeAsync() => _server.DisposeAsync();

    [Fact]
    public async Task AnIndexLivesOverRest()
    {
        await WriteAsync();
        using (HttpResponseMessage created = await PutAsync("/indexes/city", "{\"fields\":[\"c\",\"n\"],\"sparse\":true}"))
        {
            Assert.Equal((HttpStatusCode.Created, "/indexes/city"), (created.StatusCode, created.Headers.Location!.ToString()));
        }

        JsonElement index = await JsonAsync("/indexes/city?wait=30s");
        Assert.Equal(("city", "ready", true), (index.GetProperty("name").GetString(), index.GetProperty("state").GetString(), index.GetProperty("sparse").GetBoolean()));
        Assert.Equal((4L, 1L), (index.GetProperty("filledRecords").GetInt64(), index.GetProperty("unindexed").GetInt64()));
        Assert.Equal("x", index.GetProperty("unindexedKeys")[0].GetProperty("key").GetString());
        using (HttpResponseMessage again = await PutAsync("/indexes/city", "{\"fields\":[\"c\",\"n\"],\"sparse\":true,\"unique\":false}"))
        {
            Assert.Equal(HttpStatusCode.OK, again.StatusCode);
        }

        Assert.Equal("city", (await JsonAsync("/indexes")).GetProperty("indexes")[0].GetProperty("name").GetString());
        using HttpResponseMessage proto = await _server.SendAsync("GET", "/indexes", null, static headers => headers.Add("Accept", "application/x-protobuf"));
        Assert.Equal("city", ListIndexesResponse.Parser.ParseFrom(await proto.Content.ReadAsByteArrayAsync()).Indexes.Single().Name);
        string metrics = await _server.GetTextAsync("/metrics");
        foreach (string line in new[] { "ready{index=\"city\"} 1", "filled_records{index=\"city\"} 4", "unindexed_records{index=\"city\"} 1", "total_records{", "entries{", "storage_bytes{" })
        {
            Assert.Contains("\nkeyva_index_" + line, metrics, StringComparison.Ordinal);
        }

        using (HttpResponseMessage dropped = await _server.SendAsync("DELETE", "/indexes/city"))
        {
            Assert.Equal(HttpStatusCode.NoContent, dropped.StatusCode);
        }

        await ServerFixture.ProblemAsync(await _server.SendAsync("DELETE", "/indexes/city"), 404, "not-found");
        await ServerFixture.ProblemAsync(await _server.SendAsync("GET", "/indexes/city"), 404, "not-found");
    }

    [Fact]
    public async Task QueriesOverRest()
    {
        await WriteAsync();
        await CreateAsync("city", "\"c\",\"n\"");
        JsonElement found = await JsonAsync("/indexes/city/records?equal=%22Oslo%22");
        Assert.Equal(["a", "b"], Keys(found));
        JsonElement first = found.GetProperty("records")[0];
        Assert.Equal("[\"Oslo\",1]", first.GetProperty("fields").GetRawText());
        Assert.Equal("{\"c\":\"Oslo\",\"n\":1}", first.GetProperty("value").GetString());
        Assert.Equal(1, first.GetProperty("version").GetInt64());
        Assert.False(found.TryGetProperty("resume", out _));
        Assert.Equal(["b"], Keys(await JsonAsync("/indexes/city/records?equal=[%22Oslo%22,2.0]")));
        Assert.Equal(["b"], Keys(await JsonAsync("/indexes/city/records?equal=%22Oslo%22&from=1&from-exclusive")));
        Assert.Equal(["a"], Keys(await JsonAsync("/indexes/city/records?equal=%22Oslo%22&to=1&to-inclusive=true")));
        Assert.Equal(["c", "a"], Keys(await JsonAsync("/indexes/city/records?from=%22A%22&to=[%22Oslo%22,2]")));
        Assert.Equal(["b", "a"], Keys(await JsonAsync("/indexes/city/records?prefix=Os&reverse")));
        found = await JsonAsync("/indexes/city/records?limit=2&keys-only");
        Assert.Equal("[{\"key\":\"c\",\"fields\":[\"Bergen\",null]},{\"key\":\"a\",\"fields\":[\"Oslo\",1]}]", found.GetProperty("records").GetRawText());
        found = await JsonAsync("/indexes/city/records?after=" + found.GetProperty("resume").GetString());
        Assert.Equal(["b"], Keys(found));
        Assert.Empty(Keys(await JsonAsync("/indexes/city/records?equal=null")));
        using HttpResponseMessage proto = await _server.SendAsync("GET", "/indexes/city/records?limit=1", null, static headers => headers.Add("Accept", "application/x-protobuf"));
        QueryResponse page = QueryResponse.Parser.ParseFrom(await proto.Content.ReadAsByteArrayAsync());
        Assert.Equal(("c", "Bergen", true), (page.Records.Single().Record.Key.ToStringUtf8(), page.Records[0].Fields[0].StringValue, page.Records[0].Fields[1].NullValue));
        Assert.False(page.Resume.IsEmpty);
    }

    [Fact]
    public async Task WhatIsWrongIsToldOverRest()
    {
        await WriteAsync();
        await CreateAsync("n", "\"n\"");
        foreach ((string body, string detail) in new[]
        {
            ("", "the body must be an object"),
            ("{", "the body must be an object"),
            ("[]", "the body must be an object"),
            ("{}", "fields is missing"),
            ("{\"fields\":\"a\"}", "fields must be an array"),
            ("{\"fields\":[1]}", "fields[0] must be a string"),
            ("{\"fields\":[\"a\"],\"unique\":1}", "unique must be true or false"),
            ("{\"fields\":[\"a\"],\"fields\":[\"a\"]}", "fields stands twice"),
            ("{\"fields\":[\"a\"],\"what\":1}", "what is not known; known are: fields, unique"),
            ("{\"fields\":[\"a[\"]}", "the path 'a['"),
            ("{\"fields\":[\"a[*]\",\"b[*]\"]}", ""),
            ("{\"fields\":[]}", "an index has 1 to 8 fields"),
        })
        {
            JsonElement problem = await ServerFixture.ProblemAsync(await PutAsync("/indexes/bad", body), 400, "invalid");
            Assert.True(body is "" or "{" || problem.GetProperty("detail").GetString()!.Contains(detail, StringComparison.Ordinal), problem.GetRawText());
        }

        await ServerFixture.ProblemAsync(await PutAsync("/indexes/a%20b", "{\"fields\":[\"a\"]}"), 400, "invalid");
        await ServerFixture.ProblemAsync(await PutAsync("/indexes/n", "{\"fields\":[\"c\"]}"), 412, "condition-failed");
        await ServerFixture.ProblemAsync(await _server.SendAsync("PUT", "/indexes/x", new StringContent("{}")), 415, "invalid");
        await ServerFixture.ProblemAsync(await _server.SendAsync("PUT", "/indexes/x", ServerFixture.Json(new string(' ', 100_000))), 413, "too-large");
        await ServerFixture.ProblemAsync(await _server.SendAsync("POST", "/indexes/x"), 405, "invalid");
        await ServerFixture.ProblemAsync(await _server.SendAsync("PUT", "/indexes"), 405, "invalid");
        await ServerFixture.ProblemAsync(await _server.SendAsync("POST", "/indexes/n/records"), 405, "invalid");
        await ServerFixture.ProblemAsync(await _server.SendAsync("GET", "/indexes/"), 404, "invalid");
        await ServerFixture.ProblemAsync(await _server.SendAsync("GET", "/indexes/a/b"), 404, "invalid");
        JsonElement none = await ServerFixture.ProblemAsync(await _server.SendAsync("GET", "/indexes/none/records"), 404, "not-found");
        Assert.Equal(("There is no such index", "there is no index 'none'"), (none.GetProperty("title").GetString(), none.GetProperty("detail").GetString()));
        foreach ((string query, string detail) in new[]
        {
            ("equal=Oslo", "equal is 'Oslo', which is no JSON value"),
            ("equal=%22a", "equal is '\"a', which is no JSON value"),
            ("equal={}", "equal is '{}', which is no JSON value"),
            ("equal=1%202", "which is no JSON value"),
            ("from=[[1]]", "from is '[[1]]', which is no JSON value"),
            ("to=NaN", "to is 'NaN'"),
            ("equal=[1,2]", "the query names 2 values, the index 'n' has 1 fields"),
            ("equal=1&prefix=a", "the query names 2 values"),
            ("from=1&prefix=a", "a query has a prefix or a range, not both"),
            ("limit=x", "limit is 'x'"),
            ("after=%25", "after is '%25'"),
            ("encoding=base64url", "unknown query parameter 'encoding'"),
        })
        {
            JsonElement problem = await ServerFixture.ProblemAsync(await _server.SendAsync("GET", "/indexes/n/records?" + query), 400, "invalid");
            Assert.Contains(detail, problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
        }

        await ServerFixture.ProblemAsync(await _server.SendAsync("GET", "/indexes/n?wait=soon"), 400, "invalid");
        using HttpResponseMessage created = await PutAsync("/indexes/one", "{\"fields\":[\"c\"],\"unique\":true}");
        JsonElement twice = await ServerFixture.ProblemAsync(await _server.SendAsync("GET", "/indexes/one?wait=30s"), 409, "not-unique");
        Assert.Contains("the records 'a' and 'b' both have \"Oslo\"", twice.GetProperty("detail").GetString(), StringComparison.Ordinal);
        await ServerFixture.ProblemAsync(await _server.SendAsync("GET", "/indexes/one/records"), 404, "not-found");
    }

    [Fact]
    public async Task AnIndexLivesOverGrpc()
    {
        await WriteAsync();
        CreateIndexResponse created = (await _server.Control.CallAsync(Methods.CreateIndex, new CreateIndexRequest { Name = "city", Fields = { "c", "n" } })).GetMessage();
        Assert.False(created.WasThere);
        GrpcReply<CreateIndexResponse> other = await _server.Control.CallAsync(Methods.CreateIndex, new CreateIndexRequest { Name = "city", Fields = { "c" } });
        Assert.Equal((GrpcStatusCode.FailedPrecondition, "condition-failed"), (other.Status.Code, other.Trailers.Get("keyva-status")));
        using (GrpcResponses<IndexProgress> wait = _server.Data.ServerStreaming(Methods.WaitIndex, new WaitIndexRequest { Name = "city" }))
        {
            IndexProgress? last = null;
            while (await wait.ReadAsync() is { } progress)
            {
                last = progress;
            }

            Assert.True(last!.Done);
            Assert.Equal(4, last.FilledRecords);
        }

        ListIndexesResponse list = (await _server.Data.CallAsync(Methods.ListIndexes, new ListIndexesRequest { Name = "city" })).GetMessage();
        Assert.Equal(Protocol.V1.Index.Types.State.Ready, list.Indexes.Single().State);
        Assert.Equal(GrpcStatusCode.NotFound, (await _server.Data.CallAsync(Methods.ListIndexes, new ListIndexesRequest { Name = "no" })).Status.Code);
        foreach (IndexValue one in new[] { new IndexValue { IntValue = 2 }, new IndexValue { DoubleValue = 2 }, new IndexValue { DecimalValue = "0.2e1" } })
        {
            List<IndexedRecord> found = await QueryAsync(new QueryRequest { Index = "city", Equal = { new IndexValue { StringValue = "Oslo" }, one } });
            Assert.Equal(("b", 2L), (found.Single().Record.Key.ToStringUtf8(), found[0].Fields[1].IntValue));
        }

        foreach ((IndexValue value, string detail) in new[]
        {
            (new IndexValue(), "equal[0] has no value"),
            (new IndexValue { NullValue = false }, "equal[0] has null_value = false, which means nothing; leave it out"),
            (new IndexValue { DoubleValue = double.NaN }, "equal[0] is no finite number"),
            (new IndexValue { DecimalValue = "1.2.3" }, "equal[0] has a decimal_value that is no number in the notation of JSON, of up to 400 digits"),
            (new IndexValue { DecimalValue = "1 " }, "equal[0] has a decimal_value that is no number in the notation of JSON, of up to 400 digits"),
            (new IndexValue { DecimalValue = "007" }, "equal[0] has a decimal_value that is no number in the notation of JSON, of up to 400 digits"),
        })
        {
            GrpcException refused = await Assert.ThrowsAsync<GrpcException>(() => QueryAsync(new QueryRequest { Index = "city", Equal = { value } }));
            Assert.Equal((GrpcStatusCode.InvalidArgument, detail), (refused.Status.Code, refused.Status.Message));
        }

        GrpcException none = await Assert.ThrowsAsync<GrpcException>(() => QueryAsync(new QueryRequest { Index = "none" }));
        Assert.Equal((GrpcStatusCode.NotFound, "not-found"), (none.Status.Code, none.Trailers.Get("keyva-status")));
        Assert.True((await _server.Control.CallAsync(Methods.DropIndex, new DropIndexRequest { Name = "city" })).Status.IsOk);
        Assert.Equal(GrpcStatusCode.NotFound, (await _server.Control.CallAsync(Methods.DropIndex, new DropIndexRequest { Name = "city" })).Status.Code);
    }

    [Fact]
    public async Task TransactionsOverRestAskIndexes()
    {
        await WriteAsync();
        await CreateAsync("city", "\"c\",\"n\"");
        string txn = await BeginAsync();
        using HttpResponseMessage written = await _server.SendAsync(
            "POST", txn + "/write", ServerFixture.Json("{\"operations\":[{\"op\":\"put\",\"key\":\"d\",\"value\":\"{\\\"c\\\":\\\"Oslo\\\",\\\"n\\\":1.5}\"},{\"op\":\"remove\",\"key\":\"b\"}]}"));
        Assert.Equal(HttpStatusCode.OK, written.StatusCode);
        JsonElement found = await JsonAsync(txn + "/indexes/city/records?equal=%22Oslo%22&limit=1");
        Assert.Equal(["a"], Keys(found));
        found = await JsonAsync(txn + "/indexes/city/records?equal=%22Oslo%22&after=" + found.GetProperty("resume").GetString());
        Assert.Equal(["d"], Keys(found));
        await ServerFixture.ProblemAsync(await _server.SendAsync("GET", txn + "/indexes/none/records"), 404, "not-found");
        await ServerFixture.ProblemAsync(await _server.SendAsync("GET", txn + "/indexes/city/records?equal=x"), 400, "invalid");
        await ServerFixture.ProblemAsync(await _server.SendAsync("POST", txn + "/indexes/city/records"), 405, "invalid");
        await ServerFixture.ProblemAsync(await _server.SendAsync("GET", txn + "/indexes/city"), 404, "invalid");
        _server.Store.Upsert("e"u8, "{\"c\":\"Oslo\"}"u8);
        JsonElement conflict = await ServerFixture.ProblemAsync(await _server.SendAsync("POST", txn + "/commit"), 409, "conflict");
        Assert.False(conflict.TryGetProperty("conflictKey", out _));
        Assert.Contains("the index 'city'", conflict.GetProperty("detail").GetString(), StringComparison.Ordinal);
        await ServerFixture.ProblemAsync(await _server.SendAsync("GET", txn + "/indexes/city/records"), 404, "not-found");
    }

    private async Task<string> BeginAsync()
    {
        using HttpResponseMessage begun = await _server.SendAsync("POST", "/txn", ServerFixture.Json("{}"));
        return begun.Headers.Location!.ToString();
    }

    private async Task WriteAsync()
    {
        using WriteBatch batch = new();
        batch.Put("a"u8, "{\"c\":\"Oslo\",\"n\":1}"u8).Put("b"u8, "{\"c\":\"Oslo\",\"n\":2}"u8).Put("c"u8, "{\"c\":\"Bergen\",\"n\":null}"u8).Put("x"u8, "no JSON"u8);
        Assert.True((await _server.Store.WriteAsync(batch)).IsOk);
    }

    private async Task CreateAsync(string name, string fields)
    {
        using HttpResponseMessage created = await PutAsync("/indexes/" + name, $"{{\"fields\":[{fields}]}}");
        Assert.Equal(HttpStatusCode.Created, created.StatusCode);
        Assert.Equal("ready", (await JsonAsync($"/indexes/{name}?wait=30s")).GetProperty("state").GetString());
    }

    private Task<HttpResponseMessage> PutAsync(string target, string body) => _server.SendAsync("PUT", target, ServerFixture.Json(body));

    private async Task<JsonElement> JsonAsync(string target) => JsonDocument.Parse(await _server.GetTextAsync(target)).RootElement;

    private static string[] Keys(JsonElement found) => [.. found.GetProperty("records").EnumerateArray().Select(static one => one.GetProperty("key").GetString()!)];

    private async Task<List<IndexedRecord>> QueryAsync(QueryRequest request)
    {
        using GrpcResponses<QueryResponse> pages = _server.Data.ServerStreaming(Methods.Query, request);
        List<IndexedRecord> records = [];
        while (await pages.ReadAsync() is { } page)
        {
            records.AddRange(page.Records);
        }

        return records;
    }
}
