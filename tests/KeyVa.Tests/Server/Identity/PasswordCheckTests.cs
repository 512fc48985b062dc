using System.Collections.Concurrent;
using System.Net;
using KeyVa.Io;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;
using KeyVa.Server.Identity;
using KeyVa.Tests.Resp;
using Xunit;
using static KeyVa.Tests.Server.Identity.SecuredServer;

namespace KeyVa.Tests.Server.Identity;

/// <summary>Checks of passwords that are under way are shared, bounded, and end with the password.</summary>
public sealed class PasswordCheckTests
{
    private const string Address = "10.0.0.7";

    [Fact]
    public async Task AllWhoBringTheSameWaitForOneHash()
    {
        Scene scene = await Scene.BeginAsync("ada", "right");
        Task<ProofResult>[] all = [.. Enumerable.Range(0, 256).Select(_ => scene.Authenticator.ProveAsync("ada", "right", Address))];
        Assert.All(all, static one => Assert.False(one.IsCompleted));
        scene.Go();
        foreach (ProofResult result in await Task.WhenAll(all))
        {
            Assert.Equal(Proof.Accepted, result.Proof);
            Assert.Equal("ada", result.Caller!.Name);
        }

        Assert.Equal(["right"], scene.Hashed);
        Assert.Equal(Proof.Accepted, (await scene.Authenticator.ProveAsync("ada", "right", Address)).Proof);
        Assert.Equal(Proof.Accepted, scene.Authenticator.TryProve("ada", "right", Address)!.Value.Proof);
        Assert.Equal(["right"], scene.Hashed);
    }

    [Fact]
    public async Task WrongOnesAreSharedButCountForEach()
    {
        Scene scene = await Scene.BeginAsync("ada", "right");
        Task<ProofResult>[] all = [.. Enumerable.Range(0, 100).Select(_ => scene.Authenticator.ProveAsync("ada", "wrong", Address))];
        Task<ProofResult> elsewhere = scene.Authenticator.ProveAsync("ada", "wrong", "10.0.0.8");
        Task<ProofResult> nobody = scene.Authenticator.ProveAsync("nobody", "wrong", "10.0.0.9");
        scene.Go();
        ProofResult[] results = await Task.WhenAll(all);
        Assert.Equal(Proof.Wrong, (await elsewhere).Proof);
        Assert.Equal(Proof.Wrong, (await nobody).Proof);
        Assert.Equal(["wrong", "wrong"], scene.Hashed);

        // An address has twenty, and one more for each second that this took.
        Assert.InRange(results.Count(static one => one.Proof == Proof.Wrong), 20, 99);
        Assert.All(results.Where(static one => one.Proof != Proof.Wrong), static one =>
        {
            Assert.Equal(Proof.TooMany, one.Proof);
            Assert.True(one.RetryAfter > TimeSpan.Zero);
        });
    }

    [Fact]
    public async Task DifferentOnesAreBoundedAndWhoSharesIsStillLetIn()
    {
        Scene scene = await Scene.BeginAsync("ada", "right");
        List<Task<ProofResult>> honest = [scene.Authenticator.ProveAsync("ada", "right", Address)];
        List<Task<ProofResult>> guesses = [.. Enumerable.Range(1, PasswordChecks.MaxUnderWay - 1).Select(i => scene.Authenticator.ProveAsync("ada", $"guess {i}", $"10.1.0.{i}"))];
        ProofResult refused = await scene.Authenticator.ProveAsync("ada", "one more", "10.2.0.1");
        Assert.Equal((Proof.TooMany, TimeSpan.FromSeconds(1)), (refused.Proof, refused.RetryAfter));
        honest.Add(scene.Authenticator.ProveAsync("ada", "right", Address));

        // Those who share are bounded too, each holds a request.
        int room = PasswordChecks.MaxWaiting - PasswordChecks.MaxUnderWay - 1;
        honest.AddRange(Enumerable.Range(0, room).Select(_ => scene.Authenticator.ProveAsync("ada", "right", Address)));
        Assert.Equal(Proof.TooMany, (await scene.Authenticator.ProveAsync("ada", "right", Address)).Proof);
        scene.Go();
        Assert.All(await Task.WhenAll(honest), static one => Assert.Equal(Proof.Accepted, one.Proof));
        Assert.All(await Task.WhenAll(guesses), static one => Assert.Equal(Proof.Wrong, one.Proof));
        Assert.Equal(PasswordChecks.MaxUnderWay, scene.Hashed.Count);

        // There is room again.
        Assert.Equal(Proof.Wrong, (await scene.Authenticator.ProveAsync("ada", "one more", "10.2.0.1")).Proof);
    }

    [Fact]
    public async Task APasswordThatIsChangedMeanwhileCountsNoMoreAndTheNewOneDoes()
    {
        Scene scene = await Scene.BeginAsync("ada", "old");
        Task<ProofResult> old = scene.Authenticator.ProveAsync("ada", "old", Address);
        Task<ProofResult> early = scene.Authenticator.ProveAsync("ada", "new", Address);
        Task<ProofResult> gone = scene.Authenticator.ProveAsync("bob", "bob's", Address);
        Assert.Equal(Status.Ok, (await scene.Users.ChangeAsync(new UserChange.SetPassword("ada", "new"))).Status);
        Assert.Equal(Status.Ok, (await scene.Users.ChangeAsync(new UserChange.Remove("bob"))).Status);
        Task<ProofResult> late = scene.Authenticator.ProveAsync("ada", "new", Address);
        Task<ProofResult> behind = scene.Authenticator.ProveAsync("ada", "old", Address);

        // Those who had to ask again, because the password was another one meanwhile, share the checks of who came behind.
        scene.Hold(scene.Users.Current.Find("ada")!.Password!);
        scene.Go();
        Assert.True(SpinWait.SpinUntil(() => scene.Checks.UnderWay == (3, 5), TimeSpan.FromMinutes(1)), $"{scene.Checks.UnderWay}");
        scene.Hold(null);
        Assert.Equal(Proof.Wrong, (await old).Proof);
        Assert.Equal(Proof.Wrong, (await behind).Proof);
        Assert.Equal(Proof.Wrong, (await gone).Proof);
        Assert.Equal(Proof.Accepted, (await early).Proof);
        Assert.Equal(Proof.Accepted, (await late).Proof);
        Assert.Null(scene.Authenticator.TryProve("ada", "old", Address));

        // Each was compared with the password of before and the one of after, once.
        Assert.Equal(["bob's", "bob's", "new", "new", "old", "old"], scene.Hashed.Order());
    }

    [Fact]
    public async Task AFailedHashIsTheFailureOfAllWhoWaitAndOfNobodyElse()
    {
        UserStore users = await Scene.UsersAsync("ada", "right");
        TaskCompletionSource begun = new(TaskCreationOptions.RunContinuationsAsynchronously);
        int hashes = 0;
        Authenticator authenticator = new(users, new PasswordChecks((password, secret) =>
        {
            if (Interlocked.Increment(ref hashes) > 1)
            {
                return password.Matches(secret);
            }

            begun.Task.Wait();
            throw new InvalidOperationException("no hash today");
        }));
        Task<ProofResult>[] all = [.. Enumerable.Range(0, 3).Select(_ => authenticator.ProveAsync("ada", "right", Address))];
        begun.SetResult();
        foreach (Task<ProofResult> one in all)
        {
            Assert.Equal("no hash today", (await Assert.ThrowsAsync<InvalidOperationException>(() => one)).Message);
        }

        Assert.Equal(Proof.Accepted, (await authenticator.ProveAsync("ada", "right", Address)).Proof);
    }

    [Fact]
    public async Task ManyConnectionsAtOnceAreAllLetIn()
    {
        const int Connections = 256;
        await using SecuredServer server = await StartAsync(static options => options with { PasswordIterations = 1_000_000 });

        // Nobody has shown this one yet.
        await server.Admin.Users.SetPasswordAsync("admin", "another");
        Task<string>[] redis = [.. Enumerable.Range(0, Connections).Select(async _ =>
        {
            await using RespSocket socket = await server.RedisAsync();
            return await socket.CallAsync("AUTH", "admin", "another");
        })];
        using HttpClient http = new() { BaseAddress = server.Http.BaseAddress };
        http.DefaultRequestHeaders.Authorization = Basic("admin", "another");
        Task<HttpStatusCode>[] rest = [.. Enumerable.Range(0, Connections).Select(async i =>
        {
            using HttpResponseMessage response = await http.GetAsync(new Uri($"/kv/k{i}", UriKind.Relative));
            return response.StatusCode;
        })];
        using GrpcChannel channel = new(new Uri($"http://{server.Server.GrpcAddress}"));
        GrpcCallOptions options = new() { Metadata = new GrpcMetadata().Add("authorization", Basic("admin", "another").ToString()) };
        Task<GrpcReply<GetResponse>>[] grpc = [.. Enumerable.Range(0, Connections / 4).Select(async i =>
            await channel.CallAsync(Methods.Get, new GetRequest { Keys = { Google.Protobuf.ByteString.CopyFromUtf8($"k{i}") } }, options))];
        Assert.All(await Task.WhenAll(grpc), static reply => Assert.Equal(GrpcStatusCode.Ok, reply.Status.Code));
        Assert.All(await Task.WhenAll(redis), static reply => Assert.Equal("+OK", reply));
        Assert.All(await Task.WhenAll(rest), static status => Assert.Equal(HttpStatusCode.NotFound, status));
    }

    /// <summary>Users 'ada' and 'bob', and hashes that wait until they are told to go on.</summary>
    private sealed class Scene
    {
        private readonly ManualResetEventSlim _go = new();
        private readonly ManualResetEventSlim _isFree = new(initialState: true);
        private PasswordHash? _held;

        private Scene(UserStore users)
        {
            Users = users;
            Checks = new PasswordChecks((password, secret) =>
            {
                _go.Wait();
                if (ReferenceEquals(password, _held))
                {
                    _isFree.Wait();
                }

                Hashed.Enqueue(secret);
                return password.Matches(secret);
            });
            Authenticator = new Authenticator(users, Checks);
        }

        public PasswordChecks Checks { get; }

        public UserStore Users { get; }

        public Authenticator Authenticator { get; }

        /// <summary>What was hashed, once for each time.</summary>
        public ConcurrentQueue<string> Hashed { get; } = new();

        public static async Task<Scene> BeginAsync(string name, string password) => new(await UsersAsync(name, password));

        public static async Task<UserStore> UsersAsync(string name, string password)
        {
            MemoryFileSystem files = new();
            files.CreateDirectory("/data");
            UserStore users = new(files, "/data", PasswordHash.MinIterations, TimeProvider.System);
            Assert.Equal(Status.Ok, (await users.ChangeAsync(new UserChange.Add("admin", [new Grant(Plane.Control, Level.Admin, [])], "admin's own", []))).Status);
            Assert.Equal(Status.Ok, (await users.ChangeAsync(new UserChange.Add(name, [], password, []))).Status);
            Assert.Equal(Status.Ok, (await users.ChangeAsync(new UserChange.Add("bob", [], "bob's", []))).Status);
            return users;
        }

        public void Go() => _go.Set();

        /// <summary>From here on checks of this password wait, though others go on; null: none does.</summary>
        public void Hold(PasswordHash? password)
        {
            if (password is null)
            {
                _isFree.Set();
                return;
            }

            _held = password;
            _isFree.Reset();
        }
    }
}
