using Google.Protobuf.Reflection;
using KeyVa.Protocol.Grpc.Reflection.V1;
using Request = KeyVa.Protocol.Grpc.Reflection.V1.ServerReflectionRequest;
using Response = KeyVa.Protocol.Grpc.Reflection.V1.ServerReflectionResponse;

namespace KeyVa.Protocol.Grpc;

/// <summary>
/// The standard reflection service, as <c>grpc.reflection.v1</c> and, for older tools, <c>grpc.reflection.v1alpha</c>.
/// Both have the same messages on the wire, so one implementation serves both. Immutable.
/// </summary>
public sealed class ReflectionService
{
    private const string V1 = "grpc.reflection.v1.ServerReflection";
    private const string V1Alpha = "grpc.reflection.v1alpha.ServerReflection";
    private const string Method = "ServerReflectionInfo";

    private static readonly FileDescriptor[] Own =
        [Reflection.V1.ReflectionReflection.Descriptor, Reflection.V1Alpha.ReflectionReflection.Descriptor];

    private readonly ReflectionIndex _index;
    private readonly string[] _services;

    /// <summary>Reflection about some services.</summary>
    /// <param name="services">The services that the server has; reflection's own are added.</param>
    /// <param name="files">The files that declare them; what these import is added, and so are reflection's own.</param>
    public ReflectionService(IEnumerable<GrpcService> services, params IEnumerable<FileDescriptor> files)
    {
        _services = [.. services.Select(service => service.Name).Append(V1).Append(V1Alpha).Order(StringComparer.Ordinal)];
        _index = new ReflectionIndex(files.Concat(Own));
    }

    /// <summary>The method as v1.</summary>
    public static GrpcMethod<Request, Response> V1Method { get; } = new(V1, Method, Request.Parser, Response.Parser);

    /// <summary>The method as v1alpha.</summary>
    public static GrpcMethod<Request, Response> V1AlphaMethod { get; } = new(V1Alpha, Method, Request.Parser, Response.Parser);

    /// <summary>The services to give to a <see cref="GrpcServer"/>.</summary>
    public IReadOnlyList<GrpcService> ToServices() =>
    [
        new GrpcService(V1).Duplex(V1Method, AnswerAllAsync),
        new GrpcService(V1Alpha).Duplex(V1AlphaMethod, AnswerAllAsync),
    ];

    private async ValueTask<GrpcStatus> AnswerAllAsync(
        GrpcRequestStream<Request> requests, GrpcResponseStream<Response> responses, GrpcCallContext call)
    {
        while (await requests.ReadAsync() is { } request)
            await responses.WriteAsync(Answer(request));
        return GrpcStatus.Ok;
    }

    private Response Answer(Request request)
    {
        Response response = new() { ValidHost = request.Host, OriginalRequest = request };
        switch (request.MessageRequestCase)
        {
            case Request.MessageRequestOneofCase.ListServices:
                response.ListServicesResponse = new ListServiceResponse();
                response.ListServicesResponse.Service.AddRange(_services.Select(name => new ServiceResponse { Name = name }));
                break;
            case Request.MessageRequestOneofCase.FileByFilename:
                SetFile(response, _index.ByName(request.FileByFilename), request.FileByFilename);
                break;
            case Request.MessageRequestOneofCase.FileContainingSymbol:
                SetFile(response, _index.BySymbol(request.FileContainingSymbol), request.FileContainingSymbol);
                break;
            case Request.MessageRequestOneofCase.FileContainingExtension:
                ExtensionRequest extension = request.FileContainingExtension;
                SetFile(response, _index.ByExtension(extension.ContainingType, extension.ExtensionNumber),
                    $"{extension.ContainingType}[{extension.ExtensionNumber}]");
                break;
            case Request.MessageRequestOneofCase.AllExtensionNumbersOfType:
                SetNumbers(response, request.AllExtensionNumbersOfType);
                break;
            default:
                SetError(response, GrpcStatusCode.InvalidArgument, "the request asks for nothing known");
                break;
        }
        return response;
    }

    private void SetNumbers(Response response, string type)
    {
        if (_index.ExtensionNumbers(type) is not { } numbers)
        {
            SetError(response, GrpcStatusCode.NotFound, $"{type} is not known");
            return;
        }
        response.AllExtensionNumbersResponse = new ExtensionNumberResponse { BaseTypeName = type };
        response.AllExtensionNumbersResponse.ExtensionNumber.AddRange(numbers);
    }

    private static void SetFile(Response response, FileDescriptor? file, string asked)
    {
        if (file is null)
        {
            SetError(response, GrpcStatusCode.NotFound, $"{asked} is not known");
            return;
        }
        response.FileDescriptorResponse = new FileDescriptorResponse();
        response.FileDescriptorResponse.FileDescriptorProto.AddRange(
            ReflectionIndex.Closure(file).Select(one => one.SerializedData));
    }

    private static void SetError(Response response, GrpcStatusCode code, string message)
        => response.ErrorResponse = new ErrorResponse { ErrorCode = (int)code, ErrorMessage = message };
}
