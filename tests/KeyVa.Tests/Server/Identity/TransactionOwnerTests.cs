using System.Net.Http.Headers;
using System.Text.Json;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;
using Xunit;
using static KeyVa.Tests.Server.Identity.SecuredServer;

namespace KeyVa.Tests.Server.Identity;

/// <summary>A transaction belongs to the user that began it; to everybody else, an administrator too, its id is one that there is not.</summary>
public sealed class TransactionOwnerTests : IAsyncLifetime
{
    private static readonly AuthenticationHeaderValue Ada = Basic("ada", "a");

    private SecuredServer _server = null!;
    private GrpcChannel _channel = null!;

    public async Task InitializeAsync()
    {
        _server = await StartAsync();
        await _server.Admin.Users.AddAsync("ada", Grants("data:write"), "a");
        _channel = new GrpcChannel(new Uri($"http://{_server.Server.GrpcAddress}"));
    }

    public async Task DisposeAsync()
    {
        _channel.Dispose();
        await _server.DisposeAsync();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task AnothersIdIsNotFound(bool isBegunOverGrpc)
    {
        string id = isBegunOverGrpc
            ? (await CallAsync(Methods.Begin, new BeginRequest(), Ada)).Message!.Id
            : JsonDocument.Parse(await (await _server.SendAsync("POST", "/txn", Ada, ServerFixture.Json("{}"))).Content.ReadAsStringAsync()).RootElement.GetProperty("id").GetString()!;
        AuthenticationHeaderValue other = Basic("admin", AdminPassword);
        Assert.Equal(200, await WriteAsync(id, Ada));

        foreach ((string method, string path, string? body) in new (string, string, string?)[]
        {
            ("GET", "", null),
            ("POST", "/get", """{"keys": ["k"]}"""),
            ("GET", "/scan", null),
            ("GET", "/indexes/none/records", null),
            ("POST", "/write", """{"operations": [{"op": "put", "key": "k", "value": "theirs"}]}"""),
            ("POST", "/savepoint", null),
            ("POST", "/rollback-to", """{"savepoint": 0}"""),
            ("POST", "/commit", null),
            ("DELETE", "", null),
        })
        {
            using HttpResponseMessage refused = await _server.SendAsync(method, $"/txn/{id}{path}", other, body is null ? null : ServerFixture.Json(body));
            await ServerFixture.ProblemAsync(refused, 404, "not-found");
        }

        Google.Protobuf.ByteString key = Google.Protobuf.ByteString.CopyFromUtf8("k");
        Assert.Equal(GrpcStatusCode.NotFound, (await CallAsync(Methods.TxnGet, new TxnGetRequest { Id = id, Keys = { key } }, other)).Status.Code);
        Assert.Equal(GrpcStatusCode.NotFound, (await CallAsync(Methods.TxnScan, new TxnScanRequest { Id = id }, other)).Status.Code);
        Assert.Equal(GrpcStatusCode.NotFound, (await CallAsync(Methods.TxnQuery, new TxnQueryRequest { Id = id }, other)).Status.Code);
        Assert.Equal(GrpcStatusCode.NotFound, (await CallAsync(Methods.TxnWrite, new TxnWriteRequest { Id = id }, other)).Status.Code);
        Assert.Equal(GrpcStatusCode.NotFound, (await CallAsync(Methods.SetSavepoint, new SetSavepointRequest { Id = id }, other)).Status.Code);
        Assert.Equal(GrpcStatusCode.NotFound, (await CallAsync(Methods.RollbackTo, new RollbackToRequest { Id = id }, other)).Status.Code);
        Assert.Equal(GrpcStatusCode.NotFound, (await CallAsync(Methods.Commit, new CommitRequest { Id = id }, other)).Status.Code);
        Assert.Equal(GrpcStatusCode.NotFound, (await CallAsync(Methods.Rollback, new RollbackRequest { Id = id }, other)).Status.Code);

        // It is as it was, over either door, and by whatever its user proves itself with.
        AuthenticationHeaderValue token = Bearer(await _server.Admin.Users.AddTokenAsync("ada", "t"));
        Assert.Equal(200, await WriteAsync(id, token));
        Assert.Equal(GrpcStatusCode.Ok, (await CallAsync(Methods.Commit, new CommitRequest { Id = id }, token)).Status.Code);
        Assert.Equal("mine", await (await _server.SendAsync("GET", "/kv/k", Ada)).Content.ReadAsStringAsync());
    }

    private Task<int> WriteAsync(string id, AuthenticationHeaderValue who) =>
        _server.StatusAsync("POST", $"/txn/{id}/write", who, ServerFixture.Json("""{"operations": [{"op": "put", "key": "k", "value": "mine"}]}"""));

    private ValueTask<GrpcReply<TResponse>> CallAsync<TRequest, TResponse>(GrpcMethod<TRequest, TResponse> method, TRequest request, AuthenticationHeaderValue who)
        where TRequest : class, Google.Protobuf.IMessage<TRequest>
        where TResponse : class, Google.Protobuf.IMessage<TResponse> =>
        _channel.CallAsync(method, request, new GrpcCallOptions { Metadata = new GrpcMetadata().Add("authorization", who.ToString()) });
}
