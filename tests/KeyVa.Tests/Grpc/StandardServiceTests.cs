using Google.Protobuf.Reflection;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.Grpc.Health.V1;
using KeyVa.Protocol.Grpc.Reflection.V1;
using Xunit;
using ServingStatus = KeyVa.Protocol.Grpc.Health.V1.HealthCheckResponse.Types.ServingStatus;

namespace KeyVa.Tests.Grpc;

/// <summary>The standard health and reflection services.</summary>
public sealed class StandardServiceTests : IAsyncLifetime, IDisposable
{
    private readonly EchoServer _server = new();
    private GrpcChannel? _channel;

    private GrpcChannel Channel => _channel ??= new GrpcChannel(_server.Address);

    public Task InitializeAsync() => _server.InitializeAsync();

    public Task DisposeAsync() => _server.DisposeAsync();

    public void Dispose() => _channel?.Dispose();

    [Fact]
    public async Task CheckKnowsTheServerAndItsServices()
    {
        Assert.Equal(ServingStatus.Serving, await CheckAsync(""));
        GrpcReply<HealthCheckResponse> unknown = await Channel.CallAsync(
            HealthService.CheckMethod, new HealthCheckRequest { Service = EchoService.Name });
        Assert.Equal(GrpcStatusCode.NotFound, unknown.Status.Code);
        _server.Health.Set(EchoService.Name, serving: false);
        Assert.Equal(ServingStatus.NotServing, await CheckAsync(EchoService.Name));
        _server.Health.Set(EchoService.Name, serving: true);
        Assert.Equal(ServingStatus.Serving, await CheckAsync(EchoService.Name));
    }

    [Fact]
    public async Task WatchTellsEachChangeAndTheEnd()
    {
        using GrpcResponses<HealthCheckResponse> watch = Channel.ServerStreaming(
            HealthService.WatchMethod, new HealthCheckRequest { Service = EchoService.Name });
        Assert.Equal(ServingStatus.ServiceUnknown, (await watch.ReadAsync())!.Status);
        _server.Health.Set(EchoService.Name, serving: true);
        Assert.Equal(ServingStatus.Serving, (await watch.ReadAsync())!.Status);
        _server.Health.Set("another", serving: true);
        _server.Health.Set(EchoService.Name, serving: true);
        _server.Health.Shutdown();
        Assert.Equal(ServingStatus.NotServing, (await watch.ReadAsync())!.Status);
        GrpcException end = await Assert.ThrowsAsync<GrpcException>(() => watch.ReadAsync().AsTask());
        Assert.Equal(GrpcStatusCode.Unavailable, end.Code);
        _server.Health.Set(EchoService.Name, serving: true);
        Assert.Equal(ServingStatus.NotServing, await CheckAsync(EchoService.Name));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task ReflectionAnswersEachQuestionInOrder(bool alpha)
    {
        using GrpcDuplexCall<ServerReflectionRequest, ServerReflectionResponse> call = Channel.Duplex(
            alpha ? ReflectionService.V1AlphaMethod : ReflectionService.V1Method);

        ServerReflectionResponse list = await AskAsync(call, new ServerReflectionRequest { ListServices = "*" });
        Assert.Equal(
            [
                "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
                "keyva.test.Echo",
            ],
            list.ListServicesResponse.Service.Select(service => service.Name));

        foreach (string symbol in new[]
        {
            "keyva.test.Echo", "keyva.test.Echo.Unary", "keyva.test.EchoRequest", "keyva.test.EchoRequest.payload",
        })
        {
            Assert.Equal(["echo.proto"], Names(await AskAsync(call, new ServerReflectionRequest { FileContainingSymbol = symbol })));
        }
        Assert.Equal(["grpc/health/v1/health.proto"], Names(await AskAsync(
            call, new ServerReflectionRequest { FileContainingSymbol = "grpc.health.v1.HealthCheckResponse.SERVING" })));
        Assert.Equal(["grpc/reflection/v1alpha/reflection.proto"], Names(await AskAsync(
            call, new ServerReflectionRequest { FileByFilename = "grpc/reflection/v1alpha/reflection.proto" })));

        ServerReflectionResponse numbers = await AskAsync(
            call, new ServerReflectionRequest { AllExtensionNumbersOfType = "keyva.test.EchoRequest" });
        Assert.Equal("keyva.test.EchoRequest", numbers.AllExtensionNumbersResponse.BaseTypeName);
        Assert.Empty(numbers.AllExtensionNumbersResponse.ExtensionNumber);

        foreach (ServerReflectionRequest unknown in new[]
        {
            new ServerReflectionRequest { FileByFilename = "no.proto" },
            new ServerReflectionRequest { FileContainingSymbol = "no.Symbol" },
            new ServerReflectionRequest { AllExtensionNumbersOfType = "no.Type" },
            new ServerReflectionRequest
            {
                FileContainingExtension = new ExtensionRequest { ContainingType = "keyva.test.EchoRequest", ExtensionNumber = 7 },
            },
        })
        {
            ServerReflectionResponse response = await AskAsync(call, unknown);
            Assert.Equal((int)GrpcStatusCode.NotFound, response.ErrorResponse.ErrorCode);
            Assert.Equal(unknown, response.OriginalRequest);
        }
        Assert.Equal((int)GrpcStatusCode.InvalidArgument,
            (await AskAsync(call, new ServerReflectionRequest { Host = "h" })).ErrorResponse.ErrorCode);
        call.CompleteRequests();
        Assert.Null(await call.ReadAsync());
    }

    [Fact]
    public void AFileComesWithItsImportsOnceEach()
    {
        FileDescriptor descriptors = DescriptorReflection.Descriptor;
        FileDescriptor data = Protocol.V1.ControlReflection.Descriptor;
        string[] names = [.. ReflectionIndex.Closure(data).Select(file => file.Name)];
        Assert.Equal(data.Name, names[0]);
        Assert.Equal(names.Distinct(), names);
        Assert.All(data.Dependencies, import => Assert.Contains(import.Name, names));
        ReflectionIndex index = new([data, descriptors]);
        Assert.Same(descriptors, index.BySymbol("google.protobuf.FileDescriptorProto"));
    }

    private static async Task<ServerReflectionResponse> AskAsync(
        GrpcDuplexCall<ServerReflectionRequest, ServerReflectionResponse> call, ServerReflectionRequest request)
    {
        Assert.True(await call.WriteAsync(request));
        return (await call.ReadAsync())!;
    }

    private static string[] Names(ServerReflectionResponse response)
        => [.. response.FileDescriptorResponse.FileDescriptorProto.Select(file => FileDescriptorProto.Parser.ParseFrom(file).Name)];

    private async Task<ServingStatus> CheckAsync(string service)
        => (await Channel.UnaryAsync(HealthService.CheckMethod, new HealthCheckRequest { Service = service })).Status;
}
