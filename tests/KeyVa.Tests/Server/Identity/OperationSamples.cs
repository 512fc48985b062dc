using System.Globalization;
using System.Net.Http.Headers;
using System.Text.Json;
using Google.Protobuf;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.Grpc.Health.V1;
using KeyVa.Protocol.V1;
using KeyVa.Server.Identity;
using KeyVa.Server.Resp;
using KeyVa.Tests.Resp;
using static KeyVa.Tests.Server.Identity.SecuredServer;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Tests.Server.Identity;

/// <summary>One request for each operation, and what the server answers whoever sends it.</summary>
internal sealed class OperationSamples : IDisposable
{
    private const int KeptAlive = 600;

    private readonly SecuredServer _server;
    private readonly GrpcChannel _data;
    private readonly GrpcChannel _control;
    private readonly Dictionary<string, Func<GrpcCallOptions, string, Task<GrpcStatusCode>>> _grpc = [];
    private readonly Dictionary<string, (bool HasKeys, Func<string, (string Path, string? Body)> Request)> _rest = [];
    private readonly HashSet<string> _withKeys = [];

    // By token: to others than whoever began it a transaction is not there.
    private readonly Dictionary<string, string> _transactions = [];

    private OperationSamples(SecuredServer server)
    {
        _server = server;
        _data = new GrpcChannel(new Uri($"http://{server.Server.GrpcAddress}"));
        _control = new GrpcChannel(new Uri($"http://{server.Server.ControlAddress}"));
    }

    public static OperationSamples Create(SecuredServer server)
    {
        OperationSamples samples = new(server);
        samples.AddGrpc();
        samples.AddRest();
        return samples;
    }

    public bool Has(string operation) =>
        _grpc.ContainsKey(operation) || _rest.ContainsKey(operation) || (operation.StartsWith("resp ", StringComparison.Ordinal) && Command(operation) is not null);

    /// <summary>A command that is a name for its subcommands.</summary>
    public bool IsContainer(string operation) =>
        operation.StartsWith("resp ", StringComparison.Ordinal) && Command(operation) is { Subcommands.Length: > 0, Session: null, Data: null };

    public bool HasKeys(string operation) =>
        _withKeys.Contains(operation) || (operation.StartsWith("resp ", StringComparison.Ordinal) && Command(operation)!.FirstKey > 0);

    /// <summary>Sends the request of an operation, with a token or without, about a key.</summary>
    public async Task<Verdict> TryAsync(string operation, string? token, string key)
    {
        if (_grpc.TryGetValue(operation, out Func<GrpcCallOptions, string, Task<GrpcStatusCode>>? call))
        {
            GrpcMetadata metadata = [];
            if (token is not null)
            {
                metadata.Add("authorization", "Bearer " + token);
            }

            return await call(new GrpcCallOptions { Metadata = metadata, Timeout = TimeSpan.FromSeconds(20) }, key) switch
            {
                GrpcStatusCode.Unauthenticated => Verdict.Unknown,
                GrpcStatusCode.PermissionDenied => Verdict.Denied,
                _ => Verdict.Allowed,
            };
        }

        return _rest.TryGetValue(operation, out (bool HasKeys, Func<string, (string Path, string? Body)> Request) rest)
            ? await TryRestAsync(operation.Split(' ')[1], rest.Request(key), token)
            : await TryRespAsync(Command(operation)!, token, key);
    }

    public void Dispose()
    {
        _data.Dispose();
        _control.Dispose();
    }

    /// <summary>A transaction of whoever has a token; <c>none</c> if it may have none.</summary>
    private async Task<string> TransactionOfAsync(string? token)
    {
        if (token is null)
        {
            return "none";
        }

        if (!_transactions.TryGetValue(token, out string? id))
        {
            using HttpResponseMessage begun = await _server.SendAsync("POST", "/txn", Bearer(token), ServerFixture.Json($$"""{"timeLimit": {{KeptAlive}}}"""));
            id = begun.IsSuccessStatusCode ? JsonDocument.Parse(await begun.Content.ReadAsStringAsync()).RootElement.GetProperty("id").GetString()! : "none";
            _transactions.Add(token, id);
        }

        return id;
    }

    private async Task<Verdict> TryRestAsync(string method, (string Path, string? Body) request, string? token)
    {
        string path = request.Path.Contains("{id}", StringComparison.Ordinal) ? request.Path.Replace("{id}", await TransactionOfAsync(token), StringComparison.Ordinal) : request.Path;
        using HttpRequestMessage message = new(new HttpMethod(method), path);
        message.Headers.Authorization = token is null ? null : new AuthenticationHeaderValue("Bearer", token);
        message.Content = request.Body is null ? null : ServerFixture.Json(request.Body);
        using HttpResponseMessage response = await _server.Http.SendAsync(message, HttpCompletionOption.ResponseHeadersRead);
        return (int)response.StatusCode switch
        {
            401 => Verdict.Unknown,
            403 => Verdict.Denied,
            429 => throw new InvalidOperationException("the limits are off here"),
            _ => Verdict.Allowed,
        };
    }

    private async Task<Verdict> TryRespAsync(CommandInfo info, string? token, string key)
    {
        await using RespSocket socket = await _server.RedisAsync();
        if (token is not null && await socket.CallAsync("AUTH", token) is var proof and not "+OK")
        {
            throw new InvalidOperationException(proof);
        }

        List<string> arguments = info.Name == "hello" ? ["HELLO", "2", "AUTH", "nobody", "nothing"] : [.. info.Name.Split('|')];
        while (arguments.Count < Math.Abs(info.Arity))
        {
            arguments.Add("1");
        }

        int last = info.LastKeyOf(arguments.Count);
        for (int i = info.FirstKey; i > 0 && i <= last; i += info.KeyStep)
        {
            // Two keys of one command must not be the same.
            arguments[i] = key + i.ToString(CultureInfo.InvariantCulture);
        }

        string reply = await socket.CallAsync([.. arguments]);
        return reply.StartsWith("-NOAUTH", StringComparison.Ordinal) ? Verdict.Unknown
            : reply.StartsWith("-NOPERM", StringComparison.Ordinal) ? Verdict.Denied
            : Verdict.Allowed;
    }

    private static CommandInfo? Command(string operation)
    {
        string name = operation["resp ".Length..];
        return CommandTable.All.SelectMany(static one => one.Subcommands.Prepend(one)).FirstOrDefault(one => one.Name == name);
    }

    private void AddGrpc()
    {
        static ByteString Bytes(string text) => ByteString.CopyFromUtf8(text);
        static Wire.Operation Put(string key) => new() { Put = new Put { Key = Bytes(key), Value = Bytes("1") } };
        Unary(_data, Methods.Get, true, static key => new GetRequest { Keys = { Bytes(key), Bytes(key + "2") } });
        Unary(_data, Methods.OpenSessions, false, static _ => new OpenSessionsRequest { Count = 1 });
        Unary(_data, Methods.Upsert, true, static key => new UpsertRequest { Puts = { new Put { Key = Bytes(key), Value = Bytes("1") } } });
        Unary(_data, Methods.Remove, true, static key => new RemoveRequest { Removals = { new Removal { Key = Bytes(key) } } });
        Unary(_data, Methods.Write, true, static key => new WriteRequest { Operations = { Put(key), new Wire.Operation { RemoveRange = new RangeRemoval { Prefix = Bytes(key + "/gone") } } } });
        Stream(_data, Methods.Scan, true, static key => new ScanRequest { Prefix = Bytes(key) });
        Stream(_data, Methods.Watch, true, static key => new WatchRequest { From = Bytes(key), To = Bytes(key + "~") });
        Unary(_data, Methods.History, true, static key => new HistoryRequest { Key = Bytes(key) });
        Unary(_data, Methods.Revert, true, static key => new RevertRequest { Key = Bytes(key), ToVersion = 1 });
        Stream(_data, Methods.Query, false, static _ => new QueryRequest { Index = "none" });
        Unary(_data, Methods.ListIndexes, false, static _ => new ListIndexesRequest());
        Stream(_data, Methods.WaitIndex, false, static _ => new WaitIndexRequest { Name = "none" });
        Unary(_data, Methods.Begin, false, static _ => new BeginRequest { TimeLimitMs = 1 });
        Unary(_data, Methods.TxnGet, true, static key => new TxnGetRequest { Id = "none", Keys = { Bytes(key) } });
        Unary(_data, Methods.TxnScan, true, static key => new TxnScanRequest { Id = "none", Scan = new ScanRequest { Prefix = Bytes(key) } });
        Unary(_data, Methods.TxnQuery, false, static _ => new TxnQueryRequest { Id = "none" });
        Unary(_data, Methods.TxnWrite, true, static key => new TxnWriteRequest { Id = "none", Operations = { Put(key) } });
        Unary(_data, Methods.SetSavepoint, false, static _ => new SetSavepointRequest { Id = "none" });
        Unary(_data, Methods.RollbackTo, false, static _ => new RollbackToRequest { Id = "none" });
        Unary(_data, Methods.Commit, false, static _ => new CommitRequest { Id = "none" });
        Unary(_data, Methods.Rollback, false, static _ => new RollbackRequest { Id = "none" });
        Unary(_data, Methods.Transact, true, static key => new TransactRequest { Then = { new Step { Get = Bytes(key) } } });
        Add(Methods.BulkUpsert.Path, true, async (options, key) =>
        {
            using GrpcUpload<BulkUpsertRequest, BulkUpsertResponse> upload = _data.ClientStreaming(Methods.BulkUpsert, options);
            try
            {
                await upload.WriteAsync(new BulkUpsertRequest { Puts = { new Put { Key = Bytes(key), Value = Bytes("1") } } });
            }
            catch (GrpcException)
            {
                // The status comes with the reply.
            }

            return (await upload.FinishAsync()).Status.Code;
        });

        Unary(_control, Methods.ListPartitions, false, static _ => new ListPartitionsRequest());
        Unary(_control, Methods.Stats, false, static _ => new StatsRequest());
        Unary(_control, Methods.ListTransactions, false, static _ => new ListTransactionsRequest());
        Stream(_control, Methods.Compact, false, static _ => new CompactRequest { Partition = 999 });
        Stream(_control, Methods.Scrub, false, static _ => new ScrubRequest { Partition = 999 });
        Unary(_control, Methods.EndTransaction, false, static _ => new EndTransactionRequest { Number = 999_999 });
        Unary(_control, Methods.CreateIndex, false, static _ => new CreateIndexRequest());
        Unary(_control, Methods.DropIndex, false, static _ => new DropIndexRequest { Name = "none" });
        Unary(_control, Methods.AddPartition, false, static _ => new AddPartitionRequest());
        Unary(_control, Methods.RemovePartition, false, static _ => new RemovePartitionRequest { Id = 999 });
        Unary(_control, Methods.SetPartition, false, static _ => new SetPartitionRequest { Id = 999, Name = "acknowledgement", Value = "async" });
        Stream(_control, Methods.Snapshot, false, static _ => new SnapshotRequest { Path = "relative" });
        Unary(_control, Methods.GetConfig, false, static _ => new GetConfigRequest());
        Unary(_control, Methods.SetConfig, false, static _ => new SetConfigRequest { Name = "not-there", Value = "1" });
        Unary(_control, Methods.ListSlowRequests, false, static _ => new ListSlowRequestsRequest());
        Unary(_control, Methods.ClearSlowRequests, false, static _ => new ClearSlowRequestsRequest());
        Unary(_control, Methods.ClusterStatus, false, static _ => new ClusterStatusRequest());
        Unary(_control, Methods.AddNode, false, static _ => new AddNodeRequest { Node = 2, Peer = "127.0.0.1:7404" });
        Unary(_control, Methods.RemoveNode, false, static _ => new RemoveNodeRequest { Node = 2 });
        Unary(_control, Methods.TransferLeadership, false, static _ => new TransferLeadershipRequest { Node = 2 });
        Unary(_control, Methods.WhoAmI, false, static _ => new WhoAmIRequest());
        Unary(_control, Methods.ListUsers, false, static _ => new ListUsersRequest());
        Unary(_control, Methods.AddUser, false, static _ => new AddUserRequest());
        Unary(_control, Methods.RemoveUser, false, static _ => new RemoveUserRequest { Name = "not-there" });
        Unary(_control, Methods.SetUserGrants, false, static _ => new SetUserGrantsRequest { Name = "not-there" });
        Unary(_control, Methods.SetUserPassword, false, static _ => new SetUserPasswordRequest { Name = "not-there" });
        Unary(_control, Methods.ChangeOwnPassword, false, static _ => new ChangeOwnPasswordRequest { OldPassword = "one", NewPassword = "two" });
        Unary(_control, Methods.SetUserCertificates, false, static _ => new SetUserCertificatesRequest { Name = "not-there" });
        Unary(_control, Methods.AddUserToken, false, static _ => new AddUserTokenRequest { Name = "not-there", Token = "t" });
        Unary(_control, Methods.RemoveUserToken, false, static _ => new RemoveUserTokenRequest { Name = "not-there", Token = "t" });
        Unary(_data, HealthService.CheckMethod, false, static _ => new HealthCheckRequest());
        Stream(_data, HealthService.WatchMethod, false, static _ => new HealthCheckRequest());
        Duplex(ReflectionService.V1Method);
        Duplex(ReflectionService.V1AlphaMethod);
    }

    private void AddRest()
    {
        static string Escaped(string key) => Uri.EscapeDataString(key);
        foreach (string method in new[] { "GET", "HEAD", "PUT", "PATCH", "DELETE" })
        {
            Rest(method, "/kv/{key}", true, key => ("/kv/" + Escaped(key) + (method == "PATCH" ? "?function=append" : ""), method is "PUT" or "PATCH" ? "1" : null));
        }

        Rest("GET", "/kv", true, static key => ("/kv?prefix=" + Escaped(key), null));
        Rest("DELETE", "/kv", true, static key => ("/kv?from=" + Escaped(key) + "&to=" + Escaped(key + "~"), null));
        Rest("POST", "/kv:batch", true, static key => ("/kv:batch", $$"""{"operations": [{"op": "put", "key": "{{key}}", "value": "1"}, {"op": "removeRange", "prefix": "{{key}}/gone"}]}"""));
        Rest("POST", "/kv:get", true, static key => ("/kv:get", $$"""{"keys": ["{{key}}"]}"""));
        Rest("POST", "/kv:rollback", true, static key => ("/kv:rollback", $$"""{"prefix": "{{key}}", "version": 1}"""));
        Rest("GET", "/history/{key}", true, static key => ("/history/" + Escaped(key), null));
        Rest("GET", "/watch", true, static key => ("/watch?key=" + Escaped(key), null));
        Rest("GET", "/indexes", false, static _ => ("/indexes", null));
        Rest("GET", "/indexes/{name}", false, static _ => ("/indexes/none", null));
        Rest("PUT", "/indexes/{name}", false, static _ => ("/indexes/none", "{}"));
        Rest("DELETE", "/indexes/{name}", false, static _ => ("/indexes/none", null));
        Rest("GET", "/indexes/{name}/records", false, static _ => ("/indexes/none/records", null));
        Rest("POST", "/txn", false, static _ => ("/txn", """{"timeLimit": "1ms"}"""));
        Rest("POST", "/txn:transact", true, static key => ("/txn:transact", $$"""{"then": [{"op": "get", "key": "{{key}}"}]}"""));
        Rest("GET", "/txn/{id}", false, static _ => ("/txn/{id}", null));
        Rest("DELETE", "/txn/{id}", false, static _ => ("/txn/none", null));
        Rest("POST", "/txn/{id}/get", true, static key => ("/txn/{id}/get", $$"""{"keys": ["{{key}}"]}"""));
        Rest("GET", "/txn/{id}/scan", true, static key => ("/txn/{id}/scan?prefix=" + Escaped(key), null));
        Rest("GET", "/txn/{id}/indexes/{name}/records", false, static _ => ("/txn/{id}/indexes/none/records", null));
        Rest("POST", "/txn/{id}/write", true, static key => ("/txn/{id}/write", $$"""{"operations": [{"op": "put", "key": "{{key}}", "value": "1"}]}"""));
        Rest("POST", "/txn/{id}/savepoint", false, static _ => ("/txn/none/savepoint", null));
        Rest("POST", "/txn/{id}/rollback-to", false, static _ => ("/txn/none/rollback-to", "{}"));
        Rest("POST", "/txn/{id}/commit", false, static _ => ("/txn/none/commit", null));
        Rest("GET", "/config", false, static _ => ("/config", null));
        Rest("GET", "/config/{name}", false, static _ => ("/config/not-there", null));
        Rest("PUT", "/config/{name}", false, static _ => ("/config/not-there", "1"));
        Rest("GET", "/slowlog", false, static _ => ("/slowlog", null));
        Rest("DELETE", "/slowlog", false, static _ => ("/slowlog", null));
        Rest("GET", "/users", false, static _ => ("/users", null));
        Rest("GET", "/users/{name}", false, static _ => ("/users/not-there", null));
        Rest("PUT", "/users/{name}", false, static _ => ("/users/not-there", """{"unknown": 1}"""));
        Rest("DELETE", "/users/{name}", false, static _ => ("/users/not-there", null));
        Rest("PUT", "/users/{name}/password", false, static _ => ("/users/not-there/password", """{"password": "pw"}"""));
        Rest("DELETE", "/users/{name}/password", false, static _ => ("/users/not-there/password", null));
        Rest("PUT", "/password", false, static _ => ("/password", """{"old": "one", "password": "two"}"""));
        Rest("PUT", "/users/{name}/tokens/{token}", false, static _ => ("/users/not-there/tokens/t", null));
        Rest("DELETE", "/users/{name}/tokens/{token}", false, static _ => ("/users/not-there/tokens/t", null));
        foreach (string path in new[] { "/metrics", "/healthz", "/readyz", "/openapi/v1.json", "/" })
        {
            Rest("GET", path, false, _ => (path, null));
        }
    }

    private void Unary<TRequest, TResponse>(GrpcChannel channel, GrpcMethod<TRequest, TResponse> method, bool hasKeys, Func<string, TRequest> request)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse> =>
        Add(method.Path, hasKeys, async (options, key) => (await channel.CallAsync(method, request(key), options)).Status.Code);

    private void Stream<TRequest, TResponse>(GrpcChannel channel, GrpcMethod<TRequest, TResponse> method, bool hasKeys, Func<string, TRequest> request)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse> => Add(method.Path, hasKeys, async (options, key) =>
        {
            using GrpcResponses<TResponse> responses = channel.ServerStreaming(method, request(key), options);
            try
            {
                await responses.ReadAsync();
                return GrpcStatusCode.Ok;
            }
            catch (GrpcException failed)
            {
                return failed.Status.Code;
            }
        });

    private void Duplex<TRequest, TResponse>(GrpcMethod<TRequest, TResponse> method)
        where TRequest : class, IMessage<TRequest>, new()
        where TResponse : class, IMessage<TResponse> => Add(method.Path, false, async (options, _) =>
        {
            using GrpcDuplexCall<TRequest, TResponse> call = _data.Duplex(method, options);
            try
            {
                await call.WriteAsync(new TRequest());
                await call.ReadAsync();
                return GrpcStatusCode.Ok;
            }
            catch (GrpcException failed)
            {
                return failed.Status.Code;
            }
        });

    private void Add(string path, bool hasKeys, Func<GrpcCallOptions, string, Task<GrpcStatusCode>> call)
    {
        string operation = Permission.NameOfGrpc(path);
        _grpc.Add(operation, call);
        if (hasKeys)
        {
            _withKeys.Add(operation);
        }
    }

    private void Rest(string method, string route, bool hasKeys, Func<string, (string Path, string? Body)> request)
    {
        string operation = Permission.NameOfRest(method, route);
        _rest.Add(operation, (hasKeys, request));
        if (hasKeys)
        {
            _withKeys.Add(operation);
        }
    }
}
