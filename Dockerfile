# The page in a container, without a GPU: docker build -t lrisc . && docker run --rm -p 127.0.0.1:7860:7860 lrisc
FROM python:3.11-slim

RUN useradd --create-home lrisc
WORKDIR /home/lrisc/source
COPY pyproject.toml README.md LICENSE constraints.txt requirements-lpips.txt ./
COPY src ./src
# Torch first, from the index of its CPU build; the rest at the versions that the tests ran with.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" \
        "$(grep "^torch==" constraints.txt )" \
    && pip install --no-cache-dir -c constraints.txt ".[app,heif]" \
    && pip install --no-cache-dir --no-deps --require-hashes -r requirements-lpips.txt

USER lrisc
WORKDIR /home/lrisc
EXPOSE 7860
# Inside, every address is the container's own; what may reach it is for "docker run -p" to say.
CMD ["lrisc", "app", "--host", "0.0.0.0", "--allow-host", "localhost"]
