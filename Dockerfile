# The server as an image: no root, and nothing is written but the data directory.
#
#   docker build --tag credence .
#   docker run --init --read-only --volume credence:/data --publish 127.0.0.1:8080:8080 --env CREDENCE_VAULT_KEY credence
#
# Must agree with the Node that package.json pins, and with how bin/credence.js has it started.
FROM node:24.21.0-bookworm-slim AS build
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY . .
RUN npm run build && npm prune --omit=dev --no-audit --no-fund

FROM node:24.21.0-bookworm-slim
ENV NODE_ENV=production MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=65536
WORKDIR /app
COPY --from=build /build/package.json /build/LICENSE ./
COPY --from=build /build/bin bin
COPY --from=build /build/dist dist
COPY --from=build /build/node_modules node_modules
RUN install --directory --owner=node --group=node --mode=0700 /data
USER node
VOLUME /data
EXPOSE 8080
HEALTHCHECK --start-period=30s CMD ["node", "-e", "fetch('http://127.0.0.1:8080/healthz').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "--max-semi-space-size=8", "--no-separate-gc-phases", "bin/credence.js"]
CMD ["serve", "--host", "0.0.0.0", "--data-dir", "/data"]
